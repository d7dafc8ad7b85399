"""The background consumer: exact, whatever happens to it, to its catalog and to the log."""

import asyncio
import json
import random
import shutil
import sqlite3
from contextlib import aclosing, closing
from dataclasses import replace

import pytest

from app.catalog.catalog import Catalog
from app.errors import (
    CatalogDamagedError,
    ConfigurationError,
    LogUnavailableError,
    NotReadyError,
    RecordDamagedError,
    RecordGoneError,
)
from app.events.event import encode
from app.feed import expiry
from app.feed import feed as feed_module
from app.feed.dead_letters import DeadLetters
from app.feed.feed import Feed
from app.log import EVENTS, IMAGES, REJECTS, Batch, Position, Record
from app.log.sqlite.log import SqliteLog
from app.records import image as records
from app.records.address import Address
from tests.support.core_log import core_of
from tests.support.facts import NEWER, deleted, image_id, info, stored, until, watchdog

POISON = Record(b"stranger", b'{"specversion": "1.0", "type": "image.painted"}')


class World:
    """One log in a folder; feeds and their catalogs come and go."""

    def __init__(self, folder):
        self.folder = folder
        self.log = None
        self._logs = []
        self._running = []

    async def new_log(self, name="log", **options):
        """Use another log from now on."""
        self.log = SqliteLog(self.folder / name, image_partitions=2, **options)
        await self.log.start()
        self._logs.append(self.log)
        return self.log

    async def append(self, *events):
        """Append events or raw records to the log, in this order."""
        return await self.log.append(
            EVENTS, [each if isinstance(each, Record) else encode(each) for each in events]
        )

    async def follow(self, name="catalog.db", *, caught_up=True):
        """Start a feed and its catalog; wait until everything is applied."""
        catalog = Catalog(self.folder / name)
        feed = Feed(self.log, catalog)
        await feed.start()
        self._running.append((feed, catalog))
        if caught_up:
            await asyncio.wait_for(feed.caught_up(), 10)
        return feed, catalog

    async def stop(self):
        """Stop everything but the log, cleanly."""
        for feed, catalog in self._running:
            await feed.stop()
            await catalog.close()
        self._running.clear()

    def kill(self, name="killed.db"):
        """Copy the catalog's files as they are at this moment: what kill -9 leaves of them."""
        for suffix in ("", "-wal"):
            shutil.copy(self.folder / f"catalog.db{suffix}", self.folder / f"{name}{suffix}")
        return name

    async def letters(self):
        """The dead letters as (key, JSON)."""
        bounds = await self.log.bounds(REJECTS, 0)
        if bounds.end == 0:
            return []
        async with aclosing(self.log.tail(REJECTS, 0, 0)) as tail:
            batch = await anext(tail)
        return [(record.key.decode(), json.loads(record.value)) for record in batch.records]

    async def close(self):
        await self.stop()
        for log in self._logs:
            await log.stop()


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(feed_module, "_RETRY_SECONDS", 0.01)
    made = World(tmp_path)
    await made.new_log()
    yield made
    await made.close()


async def facts(catalog):
    return [(fact.sequence, fact.type, fact.image_id) for fact in await catalog.facts(-1, 10_000)]


async def listed(catalog):
    return [image.sequence for image in await catalog.newest(10_000)]


def starts_of_tails(log, monkeypatch):
    """The offsets at which the events are tailed from now on."""
    starts, tail = [], log.tail

    def spy(topic, partition, start):
        if topic == EVENTS:
            starts.append(start)
        return tail(topic, partition, start)

    monkeypatch.setattr(log, "tail", spy)
    return starts


class TestFollowing:
    async def test_what_is_appended_is_applied_in_order(self, world):
        await world.append(stored(1), stored(2))
        feed, catalog = await world.follow()
        await world.append(deleted(1), stored(3))
        await feed.caught_up()
        assert await facts(catalog) == [
            (0, "image.stored", image_id(1)),
            (1, "image.stored", image_id(2)),
            (2, "image.deleted", image_id(1)),
            (3, "image.stored", image_id(3)),
        ]
        assert feed.sequence == 3
        assert feed.trouble is None

    async def test_the_time_of_an_image_is_the_logs(self, world):
        [position] = await world.append(stored(1))
        _, catalog = await world.follow()
        record = (await world.log.read(EVENTS, position)).record
        assert (await catalog.image(image_id(1))).created_at_ms == record.timestamp_ms

    async def test_where_nothing_is_to_be_applied_it_is_ready_at_once(self, world):
        await world.new_log("quiet", heartbeat_seconds=3600)
        feed, _ = await world.follow()
        feed.require_caught_up()
        assert feed.sequence == -1

    async def test_before_every_event_is_applied_nothing_is_answered(self, world, monkeypatch):
        await world.append(stored(1))
        opened, apply = asyncio.Event(), Catalog.apply

        async def held(self, *arguments):
            await opened.wait()
            await apply(self, *arguments)

        monkeypatch.setattr(Catalog, "apply", held)
        feed, _ = await world.follow(caught_up=False)
        with pytest.raises(NotReadyError):
            feed.require_caught_up()
        assert feed.trouble
        assert not await feed.applied_within(0, 0.01)
        opened.set()
        assert await feed.applied_within(0, 10)
        feed.require_caught_up()

    async def test_a_copy_of_an_event_is_applied_once(self, world):
        event = encode(stored(1))
        await world.append(event, event, stored(2), event)
        feed, catalog = await world.follow()
        assert await listed(catalog) == [2, 0]
        assert [sequence for sequence, *_ in await facts(catalog)] == [0, 2]
        assert feed.sequence == 3

    async def test_a_deletion_that_comes_before_its_image_is_final(self, world):
        await world.append(deleted(1), stored(1))
        _, catalog = await world.follow()
        assert await listed(catalog) == []
        assert await catalog.is_deleted(image_id(1))

    async def test_who_waits_for_more_is_woken_by_the_next_event(self, world):
        feed, _ = await world.follow()
        waiting = asyncio.create_task(feed.wait_for_more())
        await asyncio.sleep(0)
        assert not waiting.done()
        await world.append(stored(1))
        await asyncio.wait_for(waiting, 10)

    async def test_closing_wakes_everyone_and_nobody_waits_after_it(self, world):
        feed, _ = await world.follow()
        waiting = [asyncio.create_task(feed.wait_for_more()) for _ in range(3)]
        await asyncio.sleep(0)
        feed.close_streams()
        await asyncio.wait_for(asyncio.gather(*waiting, feed.wait_for_more()), 1)
        assert feed.closing

    async def test_while_it_closes_the_last_uploads_are_still_applied(self, world):
        feed, catalog = await world.follow()
        feed.close_streams()
        with watchdog(10):
            [position] = await world.append(stored(1))
            assert await feed.applied_within(position.offset, 5)
        assert await listed(catalog) == [0]

    async def test_a_standstill_is_told(self, world):
        feed, _ = await world.follow()
        assert feed.trouble is None
        feed._state.moved_at -= 60
        assert "60 seconds" in feed.trouble


async def test_a_catalog_that_is_damaged_is_rebuilt_while_the_feed_runs(world):
    await world.append(stored(1), stored(2), deleted(1))
    await world.follow()
    await world.stop()
    path = world.folder / "catalog.db"
    with closing(sqlite3.connect(path)) as connection:
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        [root] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'images'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)
    feed, catalog = await world.follow()
    with pytest.raises(CatalogDamagedError):
        await catalog.newest(10)
    await world.append(stored(4))
    await until(lambda: feed.epoch == 1 and feed.trouble is None)
    await feed.caught_up()
    # The first event was erased together with its image.
    assert await listed(catalog) == [3, 1]
    assert await catalog.is_deleted(image_id(1))


async def test_while_a_damaged_catalog_is_thrown_away_nobody_is_answered(world, monkeypatch):
    await world.append(stored(1), deleted(1))
    feed, catalog = await world.follow()
    discard, asked = catalog.discard, []

    async def spy():
        with pytest.raises(NotReadyError):
            feed.require_caught_up()
        await discard()
        asked.append(await catalog.is_deleted(image_id(1)))
        with pytest.raises(NotReadyError):
            feed.require_caught_up()

    monkeypatch.setattr(catalog, "discard", spy)
    catalog._database._damage = "provoked"
    before = feed.epoch
    await world.append(stored(2))
    await until(lambda: feed.epoch > before and feed.trouble is None)
    assert asked == [False]
    assert await catalog.is_deleted(image_id(1))


class TestRestart:
    async def test_a_restart_resumes_after_the_last_event(self, world, monkeypatch):
        await world.append(stored(1), stored(2), deleted(1))
        await world.follow()
        await world.stop()
        await world.append(stored(3))
        starts = starts_of_tails(world.log, monkeypatch)
        _, catalog = await world.follow()
        assert starts == [3]
        assert [sequence for sequence, *_ in await facts(catalog)] == [0, 1, 2, 3]
        assert await listed(catalog) == [3, 1]

    async def test_after_a_kill_nothing_is_skipped_or_repeated(self, world, monkeypatch):
        await world.append(stored(1), stored(2))
        _, catalog = await world.follow()
        applying = asyncio.Event()

        async def never(*_):
            applying.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(catalog, "apply", never)
        await world.append(deleted(1), stored(3))
        await asyncio.wait_for(applying.wait(), 10)
        starts = starts_of_tails(world.log, monkeypatch)
        _, resumed = await world.follow(world.kill())
        assert starts == [2]
        assert [sequence for sequence, *_ in await facts(resumed)] == [0, 1, 2, 3]
        assert await listed(resumed) == [3, 1]

    async def test_a_deleted_catalog_is_rebuilt_as_it_was(self, world):
        await world.append(stored(1), stored(2, filename="b.png"), POISON, deleted(1), stored(4))
        _, catalog = await world.follow()
        before = await facts(catalog), await catalog.newest(100)
        await world.stop()
        for path in world.folder.glob("catalog.db*"):
            path.unlink()
        _, rebuilt = await world.follow()
        # What told of image 1, its file name included, was erased with it.
        assert [fact for fact in before[0] if fact not in await facts(rebuilt)] == before[0][:1]
        assert (await facts(rebuilt), await rebuilt.newest(100)) == (before[0][1:], before[1])

    async def test_a_deletion_erases_the_file_name_from_the_embedded_log(self, world):
        await world.append(stored(1, filename="SECRET-NAME.png"), stored(2, filename="b.png"))
        feed, _ = await world.follow()
        await world.append(deleted(1))
        await feed.caught_up()
        await world.stop()
        files = [path.read_bytes() for path in world.folder.rglob("*") if path.is_file()]
        assert not any(b"SECRET-NAME" in content for content in files)
        assert any(b"b.png" in content for content in files)

    @pytest.mark.parametrize("seed", range(4))
    async def test_any_history_with_restarts_and_kills_gives_the_same_catalog(self, world, seed):
        chance = random.Random(seed)
        alive, dead, history, name = {}, set(), [], "catalog.db"
        for _ in range(6):
            for _ in range(chance.randrange(12)):
                number = chance.randrange(8)
                event = chance.choice([stored, stored, deleted, lambda _: POISON])(number)
                sequence, copies = len(history), chance.choice([1, 1, 2])
                record = event if event is POISON else encode(event)
                history += [record] * copies
                await world.append(*[record] * copies)
                if event == deleted(number):
                    dead.add(number)
                    alive.pop(number, None)
                elif event is not POISON and number not in dead:
                    alive.setdefault(number, sequence)
            await world.follow(name)
            if chance.random() < 0.5 and name == "catalog.db":
                name = world.kill()
            await world.stop()
        _, catalog = await world.follow(name)
        images = {image.id: image.sequence for image in await catalog.newest(1000)}
        assert images == {image_id(number): sequence for number, sequence in alive.items()}
        for number in range(8):
            assert await catalog.is_deleted(image_id(number)) == (number in dead)
        poisoned = [f"{EVENTS}:0:{n}" for n, record in enumerate(history) if record is POISON]
        assert [key for key, _ in await world.letters()] == poisoned


class TestAnotherLog:
    async def test_a_catalog_of_another_log_is_rebuilt(self, world):
        await world.append(stored(1), stored(2), deleted(3))
        await world.follow()
        await world.stop()
        await world.new_log("other")
        await world.append(stored(3), stored(4), stored(5), stored(6))
        _, catalog = await world.follow()
        # Ids are never given twice, so what was deleted stays so.
        assert await listed(catalog) == [3, 2, 1]
        assert await catalog.image(image_id(1)) is None
        assert await catalog.is_deleted(image_id(3))

    async def test_a_log_of_another_identity_is_another_log_though_it_holds_the_same(
        self, world, monkeypatch
    ):
        await world.append(stored(1), stored(2))
        await world.follow()
        await world.stop()
        world.log._identity = "a copy"
        starts = starts_of_tails(world.log, monkeypatch)
        _, catalog = await world.follow()
        assert starts == [0]
        assert await listed(catalog) == [1, 0]

    @pytest.mark.parametrize("count", [1, 2, 5])
    async def test_a_topic_made_anew_in_the_same_log_is_noticed(self, world, count):
        identity = world.log.identity
        await world.append(stored(1), stored(2))
        await world.follow()
        await world.stop()
        await world.new_log("other")
        world.log._identity = identity
        await world.append(*(stored(10 + number) for number in range(count)))
        _, catalog = await world.follow()
        assert {image.id for image in await catalog.newest(10)} == {
            image_id(10 + number) for number in range(count)
        }

    async def test_events_that_are_lost_make_it_not_ready_and_it_says_so(self, world):
        await world.append(stored(1), deleted(1), stored(2))
        await world.log.trim(EVENTS, 0, 2)
        feed, catalog = await world.follow(caught_up=False)
        await until(lambda: "offset 2" in (feed.trouble or ""))
        with pytest.raises(NotReadyError, match="lost"):
            feed.require_caught_up()
        assert await listed(catalog) == []

    async def test_a_catalog_that_knows_all_lost_events_stays_in_use(self, world):
        await world.append(stored(1), deleted(1), stored(2))
        await world.follow()
        await world.stop()
        await world.log.trim(EVENTS, 0, 3)
        _, catalog = await world.follow()
        assert await catalog.is_deleted(image_id(1))
        assert await listed(catalog) == [2]
        await world.append(stored(3))
        await until_async(lambda: listed(catalog), [3, 2])

    async def test_a_catalog_that_lacks_lost_events_is_neither_used_nor_thrown_away(self, world):
        await world.append(stored(1), deleted(1))
        await world.follow()
        await world.stop()
        await world.append(stored(2), deleted(2))
        await world.log.trim(EVENTS, 0, 3)
        feed, catalog = await world.follow(caught_up=False)
        await until(lambda: "offset 3" in (feed.trouble or ""))
        assert await catalog.is_deleted(image_id(1))
        with pytest.raises(NotReadyError):
            feed.require_caught_up()

    @pytest.mark.parametrize("fault", ["the log is away", "the topic was trimmed"])
    async def test_an_empty_catalog_is_not_taken_for_the_damaged_one(
        self, world, monkeypatch, fault
    ):
        await world.append(stored(1), deleted(1), stored(2))
        feed, catalog = await world.follow()
        if fault == "the topic was trimmed":
            await world.log.trim(EVENTS, 0, 1)
        else:
            bounds, asked = world.log.bounds, []

            async def fail_once(topic, partition):
                asked.append(topic)
                if len(asked) == 1:
                    raise LogUnavailableError("It does not answer.")
                return await bounds(topic, partition)

            monkeypatch.setattr(world.log, "bounds", fail_once)
        catalog._database._damage = "as a query has met it"
        await world.append(stored(3))
        if fault == "the topic was trimmed":
            await until(lambda: "offset 1" in (feed.trouble or ""))
            with pytest.raises(NotReadyError):
                feed.require_caught_up()
        else:
            await until_async(lambda: listed(catalog), [3, 2])
            assert await catalog.is_deleted(image_id(1))


class TestPoison:
    async def test_poison_is_written_to_the_rejects_and_the_feed_goes_on(self, world):
        await world.append(stored(1), POISON, stored(2))
        feed, catalog = await world.follow()
        assert await listed(catalog) == [2, 0]
        assert feed.trouble is None
        [(key, letter)] = await world.letters()
        assert key == f"{EVENTS}:0:1"
        assert "painted" in letter.pop("reason")
        assert letter == {"topic": EVENTS, "partition": 0, "offset": 1}

    async def test_a_long_reason_is_cut(self, world):
        await world.append(Record(b"x", json.dumps({"type": "y" * 100_000}).encode()))
        await world.follow()
        [(_, letter)] = await world.letters()
        assert len(letter["reason"]) <= 500

    async def test_it_is_rejected_once_by_restarts_and_rebuilds(self, world):
        await world.append(POISON, Record(b"", b""), stored(1))
        for name in ("catalog.db", "catalog.db", "second.db", "third.db"):
            await world.follow(name)
            await world.stop()
        await world.append(POISON)
        await world.follow()
        keys = [key for key, _ in await world.letters()]
        assert keys == [f"{EVENTS}:0:{offset}" for offset in (0, 1, 3)]

    async def test_it_is_rejected_once_though_a_kill_follows_the_letter(self, world, monkeypatch):
        await world.append(stored(1))
        _, catalog = await world.follow()
        applying = asyncio.Event()

        async def never(*_):
            applying.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(catalog, "apply", never)
        await world.append(POISON)
        await asyncio.wait_for(applying.wait(), 10)
        assert len(await world.letters()) == 1
        await world.follow(world.kill())
        assert len(await world.letters()) == 1

    async def test_poison_is_met_again_where_its_letter_could_not_be_written(
        self, world, monkeypatch
    ):
        append, failures = world.log.append, [LogUnavailableError("not now")] * 2

        async def faulty(topic, records_):
            if topic == REJECTS and failures:
                raise failures.pop()
            return await append(topic, records_)

        await world.append(POISON, stored(1))
        monkeypatch.setattr(world.log, "append", faulty)
        _, catalog = await world.follow()
        assert not failures
        assert await listed(catalog) == [1]
        assert len(await world.letters()) == 1


class TestNewerVersion:
    async def test_a_newer_event_stops_the_feed_and_it_says_why(self, world):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        await world.append(NEWER, stored(2))
        await until(feed._task.done)
        assert "newer version at offset 1" in feed.trouble
        with pytest.raises(NotReadyError, match="newer version at offset 1"):
            feed.require_caught_up()
        assert await listed(catalog) == [0]
        assert await world.letters() == []

    async def test_a_restart_does_not_pass_it(self, world):
        await world.append(stored(1))
        await world.follow()
        await world.append(NEWER, deleted(1))
        await world.stop()
        feed, catalog = await world.follow(caught_up=False)
        await until(feed._task.done)
        assert "upgrade" in feed.trouble
        assert feed.sequence < 1
        assert not await catalog.is_deleted(image_id(1))


class TestFaults:
    async def test_a_log_that_is_away_is_told_and_heals(self, world, monkeypatch):
        tail, away = world.log.tail, [True]

        async def faulty(*arguments):
            if away:
                raise LogUnavailableError("the broker is away")
            async with aclosing(tail(*arguments)) as batches:
                async for batch in batches:
                    yield batch

        monkeypatch.setattr(world.log, "tail", faulty)
        await world.append(stored(1))
        feed, catalog = await world.follow(caught_up=False)
        await until(lambda: "the broker is away" in (feed.trouble or ""))
        away.clear()
        await asyncio.wait_for(feed.caught_up(), 10)
        assert feed.trouble is None
        assert await listed(catalog) == [0]

    async def test_a_log_that_is_away_when_the_catalog_is_new_heals(self, world, monkeypatch):
        bounds = world.log.bounds

        async def away(*_):
            raise LogUnavailableError("the broker is away")

        monkeypatch.setattr(world.log, "bounds", away)
        feed, _ = await world.follow(caught_up=False)
        await until(lambda: "the broker is away" in (feed.trouble or ""))
        monkeypatch.setattr(world.log, "bounds", bounds)
        await asyncio.wait_for(feed.caught_up(), 10)
        assert feed.trouble is None

    async def test_what_was_answered_before_the_log_went_away_still_is(self, world, monkeypatch):
        feed, catalog = await world.follow()
        await world.append(stored(1))
        await feed.caught_up()
        tail = world.log.tail

        async def faulty(*arguments):
            raise LogUnavailableError("the broker is away")
            yield

        monkeypatch.setattr(world.log, "tail", faulty)
        restarted = Feed(world.log, catalog)
        restarted._state.caught_up_once = True
        await restarted.start()
        await until(lambda: "the broker is away" in (restarted.trouble or ""))
        restarted.require_caught_up()
        await restarted.stop()
        monkeypatch.setattr(world.log, "tail", tail)

    @pytest.mark.parametrize("method", ["apply", "reset"])
    async def test_a_catalog_that_fails_is_told_and_heals_exactly(self, world, monkeypatch, method):
        working, failing = getattr(Catalog, method), [True]

        async def faulty(self, *arguments):
            if failing:
                raise sqlite3.OperationalError("database or disk is full")
            return await working(self, *arguments)

        monkeypatch.setattr(Catalog, method, faulty)
        await world.append(stored(1), POISON, stored(2))
        feed, catalog = await world.follow(caught_up=False)
        await until(lambda: "OperationalError" in (feed.trouble or ""))
        failing.clear()
        await asyncio.wait_for(feed.caught_up(), 10)
        assert feed.trouble is None
        assert [sequence for sequence, *_ in await facts(catalog)] == [0, 2]
        assert len(await world.letters()) == 1


class TestErasure:
    async def append_image(self, log, cookie=bytes(12)):
        """Append an image of three records; return its id and where they are."""
        view = memoryview(b"SECRET-PICTURE" * 30)
        chunks = records.chunk_records(cookie, view, 200)
        places = await log.append(IMAGES, chunks)
        head = records.head_record(cookie, view, info(content_length=420), 200, places)
        [where] = await log.append(IMAGES, [head])
        return Address(where, cookie), [where, *places]

    async def test_a_deletion_erases_every_record_of_the_image(self, world):
        where, places = await self.append_image(world.log)
        _, kept = await self.append_image(world.log, b"another pic.")
        feed, _ = await world.follow()
        await world.append(encode(deleted_at(where)))
        await feed.caught_up()
        assert len(places) == 3
        for place in places:
            with pytest.raises(RecordGoneError):
                await world.log.read(IMAGES, place)
        for place in kept:
            await world.log.read(IMAGES, place)

    async def test_an_erasure_that_failed_half_way_is_finished(self, world, monkeypatch):
        where, places = await self.append_image(world.log)
        erase, failures = world.log.erase, [LogUnavailableError("not now")]

        async def faulty(topic, positions):
            if failures and where.position in positions:
                raise failures.pop()
            await erase(topic, positions)

        monkeypatch.setattr(world.log, "erase", faulty)
        await world.append(encode(deleted_at(where)))
        await world.follow()
        assert not failures
        for place in places:
            with pytest.raises(RecordGoneError):
                await world.log.read(IMAGES, place)

    async def test_an_event_that_is_erased_before_its_deletion_is_applied_is_no_other_log(
        self, world, monkeypatch
    ):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        apply, failures = catalog.apply, [sqlite3.OperationalError("disk is full")]

        async def faulty(*arguments):
            if failures:
                raise failures.pop()
            await apply(*arguments)

        monkeypatch.setattr(catalog, "apply", faulty)
        failures[0].sqlite_errorcode = sqlite3.SQLITE_FULL
        before = feed.epoch
        [position] = await world.append(deleted(1))
        assert await feed.applied_within(position.offset, 10)
        assert not failures
        assert feed.epoch == before, "the catalog was built anew"
        assert await catalog.is_deleted(image_id(1))

    async def test_the_deletion_of_a_guessed_id_erases_nothing(self, world):
        where, places = await self.append_image(world.log)
        guessed = Address(where.position, b"wrong cookie")
        beyond = Address(Position(1, 10_000), bytes(12))
        nowhere = Address(Position(60_000, 0), bytes(12))
        await world.append(*(encode(deleted_at(each)) for each in (guessed, beyond, nowhere)))
        feed, _ = await world.follow()
        assert feed.trouble is None
        for place in places:
            await world.log.read(IMAGES, place)

    async def test_a_log_that_cannot_erase_is_left_alone(self, world):
        where, places = await self.append_image(world.log)
        world.log = core_of(world.log)
        await world.append(encode(deleted_at(where)))
        _, catalog = await world.follow()
        assert await catalog.is_deleted(str(where))
        for place in places:
            await world.log.read(IMAGES, place)


def deleted_at(where):
    return type(deleted())(str(where))


class TestDamage:
    """A batch of events that no replica has whole."""

    @pytest.fixture
    def damaged(self, world, monkeypatch):
        """The offsets that cannot be read: reads and tails of the log in use fail there."""
        offsets, read, tail = set(), world.log.read, world.log.tail

        async def read_or_fail(topic, position):
            if topic == EVENTS and position.offset in offsets:
                raise RecordDamagedError("It is damaged.", position.offset)
            return await read(topic, position)

        async def tail_or_fail(topic, partition, start):
            if topic == EVENTS and start in offsets:
                raise RecordDamagedError("It is damaged.", start)
            async with aclosing(tail(topic, partition, start)) as batches:
                async for batch in batches:
                    if topic != EVENTS or not offsets:
                        yield batch
                        continue
                    intact = [r for r in batch.records if r.position.offset < min(offsets)]
                    if intact or start > max(offsets):
                        records = tuple(intact) or batch.records
                        yield Batch(records, records[-1].position.offset + 1, batch.end)
                    if start <= max(offsets):
                        raise RecordDamagedError("It is damaged.", min(offsets))

        monkeypatch.setattr(world.log, "read", read_or_fail)
        monkeypatch.setattr(world.log, "tail", tail_or_fail)
        return offsets

    async def test_stops_the_feed_until_it_is_skipped_and_the_rest_is_applied(self, world, damaged):
        await world.append(*(stored(number) for number in range(5)))
        damaged.update({2, 3})
        feed, catalog = await world.follow(caught_up=False)
        await until(lambda: "It is damaged" in (feed.trouble or ""))
        with pytest.raises(NotReadyError):
            feed.require_caught_up()
        assert await DeadLetters(world.log).skip(2) == 4
        await asyncio.wait_for(feed.caught_up(), 10)
        assert await listed(catalog) == [4, 1, 0]
        # A catalog that is filled anew passes over it as well.
        other, catalog = await world.follow("other.db")
        assert await listed(catalog) == [4, 1, 0]
        assert other.trouble is None

    async def test_of_the_last_event_applied_needs_a_word_too(self, world, damaged):
        await world.append(stored(0), stored(1))
        await world.follow()
        await world.stop()
        damaged.add(1)
        feed, _ = await world.follow(caught_up=False)
        await until(lambda: "It is damaged" in (feed.trouble or ""))
        await DeadLetters(world.log).skip(1)
        await asyncio.wait_for(feed.caught_up(), 10)
        assert feed.trouble is None

    async def test_that_is_not_there_is_not_skipped(self, world):
        await world.append(stored(0))
        for offset in (0, 1, 7):
            with pytest.raises(ConfigurationError, match="nothing has to be skipped"):
                await DeadLetters(world.log).skip(offset)
        assert await world.letters() == []

    async def test_is_not_passed_over_at_the_word_of_a_letter_that_makes_no_sense(
        self, world, damaged
    ):
        await world.append(stored(0), stored(1))
        damaged.add(1)
        letters = [b"", b"[]", b'{"topic": "image-events", "offset": 1, "next_offset": 1}']
        letters.append(b'{"topic": "image-events", "offset": "1", "next_offset": 2}')
        await world.log.append(REJECTS, [Record(b"image-events:0:1", each) for each in letters])
        assert await DeadLetters(world.log).skipped(1) is None


class TestExpiry:
    async def test_what_left_the_log_by_itself_leaves_the_listing(self, world, monkeypatch):
        monkeypatch.setattr(expiry, "_PERIOD_SECONDS", 0.01)
        monkeypatch.setattr(expiry, "_REST_SECONDS", 0.0)
        heads = [Record(b"head", b"", partition=0)] * 3 + [Record(b"chunk", b"", partition=1)]
        await world.log.append(IMAGES, heads)
        chunked = replace(stored(2), chunk_bytes=10, chunks=(Position(1, 0),))
        await world.append(stored(0), stored(1), chunked)
        _, catalog = await world.follow()
        assert await listed(catalog) == [2, 1, 0]
        await world.log.trim(IMAGES, 0, 1)
        await until_async(lambda: listed(catalog), [2, 1])
        await world.log.trim(IMAGES, 1, 1)
        await until_async(lambda: listed(catalog), [1])
        # One that is told of only now has left already.
        await world.append(stored(0))
        _, other = await world.follow("other.db")
        await until_async(lambda: listed(other), [1])


async def until_async(ask, wanted):
    async with asyncio.timeout(10):
        while await ask() != wanted:
            await asyncio.sleep(0.01)
