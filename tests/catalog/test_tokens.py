"""Idempotency tokens in the catalog: the first event with one has it, on every replica alike."""

import dataclasses

import pytest

from app.catalog.catalog import Catalog
from app.catalog.progress import Progress
from app.catalog.tokens import Holder
from app.events.event import ImageDeleted
from app.events.idempotency import LIFETIME_MS, FormerToken
from app.events.sequenced import SequencedEvent
from tests.support.facts import TOKEN, claimed, deleted, image_id, keyed, moved, stored

OTHER = "0b" * 32
# The catalog tells what is young by the clock of the gateway.
NOW_MS = 1_790_000_000_000


@pytest.fixture
async def catalog(tmp_path, monkeypatch):
    monkeypatch.setattr("app.catalog.catalog._now", lambda: NOW_MS / 1000)
    catalog = Catalog(tmp_path / "catalog.db")
    await catalog.open()
    yield catalog
    await catalog.close()


async def apply(catalog, *events, start=0, at_ms=NOW_MS):
    sequenced = [
        SequencedEvent(sequence, at_ms, event) for sequence, event in enumerate(events, start)
    ]
    await catalog.apply(sequenced, Progress("log", start + len(events)))


async def listed(catalog):
    return [each.id for each in await catalog.newest(100)]


async def facts(catalog):
    return [(each.sequence, each.type) for each in await catalog.facts(-1, 100)]


async def test_the_first_image_with_a_token_has_it_and_the_next_is_as_a_deleted_one(catalog):
    await apply(catalog, keyed(1), keyed(2, owner="key:1"), keyed(3, OTHER), keyed(1), keyed(2))
    assert await listed(catalog) == [image_id(3), image_id(1)]
    assert await facts(catalog) == [(0, "image.stored"), (2, "image.stored")]
    assert await catalog.holder_of(TOKEN) == Holder(image_id(1), "ef" * 32)
    assert (await catalog.winner_over(image_id(2), TOKEN)).image_id == image_id(1)
    assert await catalog.winner_over(image_id(1), TOKEN) is None
    known = (await catalog.known(image_id(2))).ownership
    assert (known.owner, known.is_deleted) == ("key:1", True)
    assert (await catalog.usage("key:1")).images == 0


async def test_an_image_that_lost_is_to_be_deleted_until_the_log_says_that_it_is(catalog):
    await apply(catalog, keyed(1), keyed(2, owner="key:1"), keyed(3))
    assert await catalog.lost(1) == [ImageDeleted(image_id(2), "key:1")]
    assert await catalog.lost_at(image_id(2)) == 1
    await apply(catalog, *await catalog.lost(10), start=3)
    assert await catalog.lost(10) == []
    # Nobody was told that it was there; a copy of the event changes nothing either.
    await apply(catalog, deleted(2), keyed(2), start=5)
    assert await facts(catalog) == [(0, "image.stored")]
    assert await listed(catalog) == [image_id(1)]


async def test_a_token_is_free_again_after_a_day_by_the_timestamps_of_both_events(catalog):
    await apply(catalog, keyed(1))
    await apply(catalog, keyed(2), start=1, at_ms=NOW_MS + LIFETIME_MS - 1)
    await apply(catalog, keyed(3), start=2, at_ms=NOW_MS + LIFETIME_MS)
    await apply(catalog, keyed(4), start=3, at_ms=NOW_MS + LIFETIME_MS + 1)
    assert await listed(catalog) == [image_id(3), image_id(1)]
    assert (await catalog.holder_of(TOKEN)).image_id == image_id(3)
    # A copy of what lost, or of what won, stays what it was.
    await apply(catalog, keyed(2), keyed(1), start=4, at_ms=NOW_MS + 3 * LIFETIME_MS)
    assert await listed(catalog) == [image_id(3), image_id(1)]


async def test_time_that_steps_back_frees_no_token(catalog):
    await apply(catalog, keyed(1))
    await apply(catalog, keyed(2, OTHER), start=1, at_ms=NOW_MS + LIFETIME_MS + 1)
    await apply(catalog, keyed(3), start=2, at_ms=NOW_MS + LIFETIME_MS - 1)
    assert await listed(catalog) == [image_id(2), image_id(1)]


async def test_tokens_leave_long_after_their_time(catalog):
    for number in range(10):
        await apply(
            catalog,
            keyed(number, f"{number:064}"),
            start=number,
            at_ms=NOW_MS + number * LIFETIME_MS // 2,
        )
    [count] = await catalog._database.query(lambda row: row[0], "SELECT count(*) FROM tokens")
    assert count == 4


async def test_a_token_is_old_by_the_clock_here_and_its_winner_is_known_nevertheless(
    catalog, monkeypatch
):
    await apply(catalog, keyed(1), keyed(2))
    monkeypatch.setattr("app.catalog.catalog._now", lambda: (NOW_MS + LIFETIME_MS) / 1000)
    assert await catalog.holder_of(TOKEN) is None
    assert (await catalog.winner_over(image_id(2), TOKEN)).image_id == image_id(1)


async def test_what_lost_its_token_uses_no_link_and_what_has_no_use_left_takes_no_token(catalog):
    one, two, three = (
        dataclasses.replace(each, claim=claimed().claim)
        for each in (keyed(1), keyed(2), keyed(3, OTHER))
    )
    await apply(catalog, keyed(9), one)
    assert await catalog.uses_of("A" * 16) == 0
    await apply(catalog, claimed(4), start=2)
    await apply(catalog, three, keyed(5, OTHER), two, start=3)
    assert await listed(catalog) == [image_id(5), image_id(4), image_id(9)]


async def test_an_image_that_is_deleted_keeps_its_token(catalog):
    await apply(catalog, keyed(1), deleted(1), keyed(2))
    assert await listed(catalog) == []
    assert (await catalog.holder_of(TOKEN)).image_id == image_id(1)


async def test_where_the_log_has_erased_an_event_the_deletion_has_its_token(catalog):
    await apply(catalog, keyed(1))
    assert await catalog.token_of(image_id(1)) == FormerToken(TOKEN, NOW_MS)
    assert await catalog.token_of(image_id(2)) is None
    deletion = ImageDeleted(image_id(1), former_token=await catalog.token_of(image_id(1)))
    rebuilt = [(deletion, 0), (keyed(2), LIFETIME_MS - 1), (keyed(3), LIFETIME_MS)]
    await catalog.reset("log")
    for sequence, (event, later_ms) in enumerate(rebuilt):
        await apply(catalog, event, start=sequence, at_ms=NOW_MS + later_ms)
    assert await listed(catalog) == [image_id(3)]


async def test_a_deletion_takes_no_token_from_another_image_nor_for_longer_than_a_day(catalog):
    await apply(catalog, keyed(1))
    for token in (FormerToken(TOKEN, NOW_MS + 9), FormerToken(OTHER, NOW_MS - LIFETIME_MS)):
        await apply(catalog, ImageDeleted(image_id(2), former_token=token), start=1)
    assert (await catalog.holder_of(TOKEN)).image_id == image_id(1)
    assert await catalog.holder_of(OTHER) is None


async def test_an_event_deletes_no_image_that_is_there_by_having_a_token_that_another_has(catalog):
    await apply(catalog, stored(1), keyed(2), keyed(1))
    assert await listed(catalog) == [image_id(2), image_id(1)]
    assert await catalog.lost(10) == []


async def test_a_rebuild_that_remembers_deletions_judges_as_before(catalog):
    events = keyed(1), keyed(2), deleted(1), deleted(2), keyed(3)
    await apply(catalog, *events)
    before = await facts(catalog)
    await catalog.reset("log")
    assert await catalog.holder_of(TOKEN) is None
    await apply(catalog, *events)
    assert await facts(catalog) == before
    assert (await catalog.holder_of(TOKEN)).image_id == image_id(1)
    assert [each.image_id for each in await catalog.lost(10)] == [image_id(3)]


async def test_a_move_has_no_token(catalog):
    event = moved(5, 6)
    await apply(catalog, keyed(1), event, keyed(2))
    assert await listed(catalog) == [image_id(5), image_id(1)]


async def test_an_image_that_turns_out_to_be_no_gateways_gives_its_token_back(catalog):
    forged = SequencedEvent(0, NOW_MS, keyed(1))
    await catalog.apply([forged], Progress("log", 1))
    await catalog.reject(forged)
    await apply(catalog, keyed(2), start=1)
    assert await listed(catalog) == [image_id(2)]
