"""The catalog: listed and deleted images, and a file that may be in any state."""

import asyncio
import dataclasses
import itertools
import shutil
import sqlite3

import pytest

from app.catalog.catalog import Catalog
from app.catalog.progress import Progress
from app.events.event import ImageDeleted
from app.events.sequenced import SequencedEvent
from app.imaging.info import Visibility
from tests.support.facts import claimed, deleted, image_id, info, moved, stored

MINUTE_MS = 60_000


@pytest.fixture
async def opened(tmp_path):
    """Open catalogs, each at a path; they are closed when the test ends."""
    catalogs = []

    async def start(path=tmp_path / "catalog.db"):
        catalog = Catalog(path)
        catalogs.append(catalog)
        catalog.progress = await catalog.open()
        return catalog

    yield start
    for catalog in catalogs:
        await catalog.close()


@pytest.fixture
async def catalog(opened):
    return await opened()


async def apply(catalog, *events, start=0):
    """Apply events at the sequence numbers from `start` on."""
    sequenced = [
        SequencedEvent(sequence, sequence * MINUTE_MS, event)
        for sequence, event in enumerate(events, start)
    ]
    end = start + len(events)
    await catalog.apply(sequenced, Progress("log", end, end - 1, b"fingerprint"))


async def listed(catalog, limit=100, before=None):
    return [image.sequence for image in await catalog.newest(limit, before)]


async def facts(catalog, after=-1, limit=100):
    return [(fact.sequence, fact.type) for fact in await catalog.facts(after, limit)]


class TestFacts:
    async def test_an_image_is_found_as_its_event_described_it(self, catalog):
        await apply(catalog, stored(1), stored(2, filename=None, width=7))
        image = await catalog.image(image_id(2))
        assert (image.id, image.sequence, image.created_at_ms) == (image_id(2), 1, MINUTE_MS)
        assert image.info == info(filename=None, width=7)
        assert await catalog.image(image_id(3)) is None

    async def test_the_newest_come_first_below_the_sequence_given(self, catalog):
        await apply(catalog, *(stored(number) for number in range(10)))
        assert await listed(catalog) == list(range(9, -1, -1))
        assert await listed(catalog, limit=3) == [9, 8, 7]
        assert await listed(catalog, limit=3, before=7) == [6, 5, 4]
        assert await listed(catalog, before=0) == []

    async def test_the_first_copy_of_an_event_counts(self, catalog):
        await apply(catalog, stored(1), stored(1, filename="another"), stored(2))
        await apply(catalog, stored(1), start=3)
        assert await listed(catalog) == [2, 0]
        assert await facts(catalog) == [(0, "image.stored"), (2, "image.stored")]
        assert (await catalog.image(image_id(1))).info == info()

    async def test_a_deletion_is_final_before_and_after_the_image_is_stored(self, catalog):
        await apply(catalog, stored(1), deleted(1), stored(1), deleted(2), stored(2), deleted(2))
        assert await listed(catalog) == []
        assert await catalog.is_deleted(image_id(1))
        assert await catalog.is_deleted(image_id(2))
        assert not await catalog.is_deleted(image_id(3))
        assert await facts(catalog) == [
            (0, "image.stored"),
            (1, "image.deleted"),
            (3, "image.deleted"),
        ]

    async def test_facts_are_read_after_a_sequence_and_lose_deleted_images(self, catalog):
        await apply(catalog, stored(1), stored(2), deleted(1), stored(3))
        page = await catalog.facts(0, 2)
        assert [fact.sequence for fact in page] == [1, 2]
        assert page[0].image == await catalog.image(image_id(2))
        assert page[1].image is None
        [first] = await catalog.facts(-1, 1)
        assert (first.image_id, first.image) == (image_id(1), None)
        assert await catalog.facts(3, 10) == []

    async def test_a_deleted_image_leaves_no_file_name_in_the_file(self, catalog, tmp_path):
        await apply(catalog, stored(1, filename="SECRET.png"), stored(2, filename="kept.png"))
        await apply(catalog, deleted(1), start=2)
        await catalog.close()
        left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"kept.png" in left
        assert b"SECRET.png" not in left

    async def test_readers_see_whole_batches_while_the_writer_works(self, catalog):
        async def write():
            for start in range(0, 400, 4):
                await apply(catalog, *(stored(start + n) for n in range(4)), start=start)

        writing = asyncio.create_task(write())
        counts = []
        while not writing.done():
            counts.append(len(await listed(catalog, limit=1000)))
        await writing
        assert len(await listed(catalog, limit=1000)) == 400
        assert all(count % 4 == 0 for count in counts)
        assert all(a <= b for a, b in itertools.pairwise(counts))


class TestClaims:
    """Of a link's claims, the first in the log count."""

    async def test_only_as_many_are_listed_as_the_link_has_uses(self, catalog):
        events = [claimed(number, uses=2) for number in range(5)]
        await apply(catalog, *events, claimed(9, link="B" * 16))
        assert await listed(catalog) == [5, 1, 0]
        assert await facts(catalog) == [(n, "image.stored") for n in (0, 1, 5)]
        assert await catalog.uses_of("A" * 16) == 2
        assert await catalog.uses_of("C" * 16) == 0
        assert await catalog.is_announced(image_id(1))
        assert not await catalog.is_announced(image_id(2))

    async def test_a_copy_of_an_event_claims_nothing_and_one_that_lost_stays_lost(self, catalog):
        await apply(catalog, claimed(1, uses=2), claimed(1, uses=2), claimed(2, uses=2))
        await apply(catalog, claimed(3, uses=2), claimed(1, uses=2), claimed(3, uses=2), start=3)
        assert await listed(catalog) == [2, 0]
        assert await catalog.uses_of("A" * 16) == 2

    async def test_a_deleted_image_gives_its_use_to_no_other(self, catalog):
        await apply(catalog, claimed(1), deleted(1), claimed(2))
        assert await listed(catalog) == []
        assert await catalog.is_announced(image_id(1))

    async def test_a_deletion_counts_where_what_it_deletes_was_erased(self, catalog):
        await apply(catalog, ImageDeleted(image_id(1), claim=claimed().claim), claimed(2))
        assert await listed(catalog) == []
        assert await catalog.uses_of("A" * 16) == 1

    async def test_however_the_events_are_batched_the_decision_is_the_same(self, opened, tmp_path):
        links = ["A" * 16, "B" * 16, "C" * 16]
        events = [
            claimed(number, link=links[number % 3], uses=1 + number % 2, expires_at=number)
            for number in range(40)
        ]
        found = []
        for size in (1, 7, 40):
            catalog = await opened(tmp_path / f"{size}.db")
            for start in range(0, len(events), size):
                await apply(catalog, *events[start : start + size], start=start)
            found.append(await listed(catalog))
        assert found[0] == found[1] == found[2]
        await catalog.reset("again")
        await apply(catalog, *events)
        assert await listed(catalog) == found[0]

    async def test_claims_are_forgotten_by_the_clock_of_the_log_a_day_after_the_link(self, catalog):
        day = 24 * 60
        await apply(catalog, claimed(1, expires_at=3_600))
        await apply(catalog, claimed(2, link="B" * 16), start=60 + day)
        assert await catalog.uses_of("A" * 16) == 1
        # A claim that comes only now could be one of a count that is forgotten: it counts no more.
        await apply(catalog, claimed(3, expires_at=3_600), start=61 + day)
        assert await catalog.uses_of("A" * 16) == 0
        assert await listed(catalog) == [60 + day, 0]


class TestMoves:
    async def now(self, catalog, number):
        """The id of the image by an id that it has or had, and whether it is listed or deleted."""
        known = await catalog.known(image_id(number))
        image = await catalog.image(image_id(number))
        assert image is None or image.id == known.image_id
        is_deleted = known.ownership is not None and known.ownership.is_deleted
        assert (image is None) == (known.ownership is None or is_deleted)
        return known.image_id, image is not None, is_deleted

    async def test_an_image_is_known_by_every_id_that_it_had(self, catalog):
        await apply(catalog, stored(9), moved(3, 1, 2), start=5)
        for number in (1, 2, 3):
            assert await self.now(catalog, number) == (image_id(3), True, False)
        assert await self.now(catalog, 9) == (image_id(9), True, False)
        assert await self.now(catalog, 4) == (image_id(4), False, False)
        image = await catalog.image(image_id(1))
        assert image.former_ids == (image_id(1), image_id(2))
        assert (image.sequence, image.created_at_ms) == (6, 1_600_000_000_123)
        assert (await catalog.image(image_id(9))).former_ids == ()
        assert await facts(catalog) == [(5, "image.stored"), (6, "image.moved")]

    async def test_deleted_it_is_deleted_by_every_id(self, catalog):
        await apply(catalog, moved(3, 1, 2), deleted(3))
        for number in (1, 2, 3):
            assert (await self.now(catalog, number))[1:] == (False, True)
        assert await catalog.is_deleted(image_id(1))

    async def test_it_is_deleted_by_an_id_that_it_had(self, catalog):
        of_link = dataclasses.replace(moved(3, 1, 2), claim=claimed(uses=2).claim)
        deletion = ImageDeleted(image_id(1), claim=of_link.claim)
        await apply(catalog, of_link, deletion)
        for number in (1, 2, 3):
            assert (await self.now(catalog, number))[1:] == (False, True)
        [_, last] = await catalog.facts(-1, 10)
        assert (last.type, last.image_id) == ("image.deleted", image_id(3))
        assert await catalog.uses_of(of_link.claim.link) == 1

    async def test_deleted_it_stays_so_where_the_log_has_erased_the_move_or_is_replaced(
        self, catalog
    ):
        await apply(catalog, ImageDeleted(image_id(3), former_ids=(image_id(1),)))
        assert (await self.now(catalog, 1))[1:] == (False, True)
        await catalog.reset("another")
        await apply(catalog, moved(4, 1))
        assert (await self.now(catalog, 1))[1:] == (False, True)
        assert await listed(catalog) == []

    async def test_the_first_move_counts(self, catalog):
        await apply(catalog, moved(3, 1), moved(4, 1), moved(3, 1), moved(5, 2, 1))
        assert await self.now(catalog, 1) == (image_id(3), True, False)
        assert await self.now(catalog, 4) == (image_id(4), False, False)
        assert await self.now(catalog, 2) == (image_id(2), False, False)
        assert await facts(catalog) == [(0, "image.moved")]

    async def test_what_is_here_or_was_deleted_here_is_not_moved_here(self, catalog):
        await apply(catalog, stored(1), stored(2), deleted(2), moved(3, 1), moved(4, 2))
        assert await self.now(catalog, 1) == (image_id(1), True, False)
        assert await self.now(catalog, 2) == (image_id(2), False, True)
        assert [sequence for sequence, _ in await facts(catalog)] == [0, 1, 2]

    async def test_an_image_that_expired_keeps_its_new_id(self, catalog):
        await apply(catalog, moved(3, 1))
        await catalog.forget_before({0: 4})
        assert await self.now(catalog, 1) == (image_id(3), False, False)

    async def test_another_log_knows_no_former_ids(self, catalog):
        await apply(catalog, moved(3, 1))
        await catalog.reset("another")
        assert await self.now(catalog, 1) == (image_id(1), False, False)

    async def test_its_claim_is_a_use_of_its_link_and_never_refused(self, catalog):
        of_link = {"claim": claimed().claim}
        one, other = (dataclasses.replace(moved(*each), **of_link) for each in ((3, 1), (4, 2)))
        await apply(catalog, one, other, claimed(5))
        assert await listed(catalog) == [1, 0]
        assert await catalog.uses_of(claimed().claim.link) == 1

    async def test_moved_twice_it_is_one_use_of_its_link(self, catalog):
        of_link = {"claim": claimed(uses=2).claim}
        one, again = (dataclasses.replace(moved(*each), **of_link) for each in ((3, 1), (4, 1)))
        await apply(catalog, one, again, claimed(5, uses=2))
        assert await listed(catalog) == [2, 0]


class TestOwners:
    async def test_an_owners_images_and_facts_come_without_those_of_others(self, catalog):
        await apply(catalog, *(stored(number, owner=f"key:{number % 3}") for number in range(9)))
        await apply(catalog, deleted(4), stored(9), start=9)
        own = [image.sequence for image in await catalog.newest(2, None, "key:1")]
        more = [image.sequence for image in await catalog.newest(2, own[-1], "key:1")]
        assert (own, more) == ([7, 1], [])
        of = [(fact.sequence, fact.type) for fact in await catalog.facts(1, 2, "key:1")]
        assert of == [(4, "image.stored"), (7, "image.stored")]
        rest = [(fact.sequence, fact.type) for fact in await catalog.facts(7, 9, "key:1")]
        assert rest == [(9, "image.deleted")]
        assert await catalog.newest(9, None, "key:9") == []

    async def test_a_client_without_a_name_owns_nothing(self, catalog):
        await apply(catalog, stored(1), deleted(1), stored(2))
        assert await catalog.newest(9, None, "") == []
        assert await catalog.facts(-1, 9, "") == []

    async def test_ownership_is_known_of_listed_and_deleted_images(self, catalog):
        closed = stored(2, owner="key:2", visibility=Visibility.OWNER)
        await apply(catalog, stored(1, owner="key:1"), closed, stored(3))
        assert await self.of(catalog, 1) == ("key:1", None, False)
        assert await self.of(catalog, 2) == ("key:2", Visibility.OWNER, False)
        assert await self.of(catalog, 3) == ("", None, False)
        assert (await catalog.known(image_id(4))).ownership is None
        # The deletion of a gateway that knows no owners, and those of images that are not listed.
        unknown = ImageDeleted(image_id(4), "key:4", Visibility.PUBLIC)
        lying = ImageDeleted(image_id(1), "key:9")
        await apply(catalog, deleted(2), unknown, lying, deleted(5), start=3)
        assert await self.of(catalog, 2) == ("key:2", Visibility.OWNER, True)
        assert await self.of(catalog, 4) == ("key:4", Visibility.PUBLIC, True)
        assert await self.of(catalog, 1) == ("key:1", None, True)
        assert await self.of(catalog, 5) == ("", None, True)

    async def of(self, catalog, number):
        known = (await catalog.known(image_id(number))).ownership
        return known.owner, known.visibility, known.is_deleted

    async def test_a_deletion_is_of_the_source_that_the_image_was_stored_with(self, catalog):
        await apply(catalog, stored(1, source="door"), stored(2))
        lying = (ImageDeleted(image_id(number), source="gate") for number in (1, 2, 3))
        await apply(catalog, *lying, start=2)
        for source, sequences in (("door", [0, 2]), ("gate", [4])):
            found = await catalog.facts(-1, 9, None, source)
            assert [fact.sequence for fact in found] == sequences

    async def test_no_query_for_an_owner_scans_the_rows_of_others(self, catalog, tmp_path):
        await apply(catalog, stored(1, owner="key:1"))
        plans, query = [], catalog._database.query

        async def explained(parse, statement, *parameters):
            plan = await query(tuple, f"EXPLAIN QUERY PLAN {statement}", *parameters)
            plans.extend(row[-1] for row in plan)
            return await query(parse, statement, *parameters)

        catalog._database.query = explained
        await catalog.newest(10, None, "key:1")
        await catalog.facts(-1, 10, "key:1")
        await catalog.newest(10, None, None, "door")
        await catalog.facts(-1, 10, None, "door")
        await catalog.newest(10, None, "key:1", "door")
        await catalog.facts(-1, 10, "key:1", "door")
        await catalog.of_upload("key:1", "cd" * 32, 10)
        await catalog.of_upload("", "cd" * 32, 10)
        await catalog.known(image_id(1))
        await catalog.image(image_id(1))
        assert [plan for plan in plans if "_of_owner (owner=? AND" in plan] == [
            "SEARCH images USING INDEX images_of_owner (owner=? AND sequence<?)",
            "SEARCH facts USING INDEX facts_of_owner (owner=? AND sequence>?)",
        ]
        of_source = "SEARCH {} USING INDEX {}_of_{}"
        assert [plan for plan in plans if "source=?" in plan] == [
            of_source.format("images", "images", "source (source=? AND sequence<?)"),
            of_source.format("facts", "facts", "source (source=? AND sequence>?)"),
            of_source.format("images", "images", "both (owner=? AND source=? AND sequence<?)"),
            of_source.format("facts", "facts", "both (owner=? AND source=? AND sequence>?)"),
        ]
        of_upload = "SEARCH images USING INDEX images_of_upload (upload=? AND owner=?)"
        assert [plan for plan in plans if "upload=?" in plan] == [of_upload, of_upload]
        # The row of the id that was asked for.
        one_row = {"SCAN given", "SCAN CONSTANT ROW"}
        scans = {plan for plan in plans if plan.startswith("SCAN") or "TEMP" in plan}
        assert scans <= one_row


class TestProgress:
    async def test_a_new_catalog_knows_no_log(self, catalog):
        assert catalog.progress == Progress("", 0, -1, b"")

    async def test_progress_survives_a_restart(self, catalog, opened):
        await apply(catalog, stored(1), stored(2))
        await catalog.close()
        again = await opened()
        assert again.progress == Progress("log", 2, 1, b"fingerprint")
        assert await listed(again) == [1, 0]

    async def test_events_and_progress_are_one_transaction(self, catalog, opened):
        await apply(catalog, stored(1))
        with pytest.raises(AssertionError):
            await apply(catalog, stored(2), "no event", start=1)
        assert await listed(catalog) == [0]
        await apply(catalog, stored(3), start=1)
        await catalog.close()
        assert (await opened()).progress.next_offset == 2

    async def test_a_full_disk_is_no_reason_to_replace_the_catalog(self, catalog):
        await apply(catalog, stored(1), deleted(1), stored(2))

        async def limit(pages):
            statement = f"PRAGMA max_page_count = {pages}"
            await catalog._database.write(lambda writer: writer.execute(statement).fetchone())

        await limit(1)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await apply(catalog, *(stored(number) for number in range(3, 200)), start=3)
        catalog.check()
        await limit(1_000_000)
        await apply(catalog, stored(3), start=3)
        assert await listed(catalog) == [3, 2]
        assert await catalog.is_deleted(image_id(1))

    async def test_what_a_kill_leaves_is_whole_batches(self, catalog, opened, tmp_path):
        await apply(catalog, stored(1), stored(2))
        (tmp_path / "after").mkdir()
        for path in tmp_path.glob("catalog.db*"):
            shutil.copy(path, tmp_path / "after")
        killed = await opened(tmp_path / "after/catalog.db")
        assert killed.progress.next_offset == 2
        assert await listed(killed) == [1, 0]

    async def test_a_reset_forgets_everything_but_what_was_deleted(self, catalog, opened):
        await apply(catalog, stored(1), deleted(2))
        assert await catalog.reset("another log") == Progress("another log", 0, -1, b"")
        assert await listed(catalog) == []
        assert await facts(catalog) == []
        assert await catalog.is_deleted(image_id(2))
        # The same history again gives the same facts, and another one cannot bring it back.
        await apply(catalog, stored(2), deleted(2), stored(3), stored(2))
        assert await listed(catalog) == [2]
        assert [sequence for sequence, *_ in await facts(catalog)] == [0, 1, 2]
        await catalog.close()
        assert (await opened()).progress.next_offset == 4


def garbage(path):
    path.write_bytes(b"no database" * 1000)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:5000])


def empty(path):
    path.write_bytes(b"")


def another_schema(path):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def without_a_table(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE progress")
    connection.close()


def removed(path):
    path.unlink()


@pytest.mark.parametrize(
    "spoil", [garbage, cut_off, empty, another_schema, without_a_table, removed]
)
async def test_a_file_that_cannot_be_used_is_replaced(catalog, opened, tmp_path, spoil):
    await apply(catalog, *(stored(number) for number in range(50)))
    await catalog.close()
    spoil(tmp_path / "catalog.db")
    again = await opened()
    assert again.progress == Progress("")
    assert await listed(again) == []
    await apply(again, stored(1))
    assert await listed(again) == [0]


async def test_the_usage_of_an_owner_is_what_is_listed_of_it(catalog):
    await apply(
        catalog,
        stored(1, owner="a", stored_bytes=10),
        stored(2, owner="a", stored_bytes=20),
        stored(3, owner="b", stored_bytes=40),
        stored(4, stored_bytes=80),
        stored(1, owner="a", stored_bytes=10),
        deleted(2),
        deleted(3),
    )
    found = {owner: await catalog.usage(owner) for owner in ("a", "b", "")}
    assert (found["a"].images, found["a"].stored_bytes) == (1, 10)
    assert (found["b"].images, found["b"].stored_bytes) == (0, 0)
    assert found[""].images == 0
    await catalog.reset("another log")
    assert (await catalog.usage("a")).images == 0


def test_a_change_of_the_properties_needs_another_version_of_the_schema():
    # Rows have their values in this order. One more, at the end, needs none.
    assert list(info().as_dict())[:22] == [
        "content_type",
        "content_length",
        "digest",
        "width",
        "height",
        "frame_count",
        "filename",
        "profile",
        "codec",
        "kept",
        "received_bytes",
        "received_digest",
        "stored_bytes",
        "content_encoding",
        "metadata_removed",
        "quality",
        "owner",
        "visibility",
        "expires_at",
        "source",
        "metadata",
        "expires_in",
    ]
