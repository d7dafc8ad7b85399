"""Records that hold no event: each has a letter; and damage, which stops the follower."""

import asyncio
import json
from contextlib import aclosing

import pytest

from app.errors import ConfigurationError, LogUnavailableError, NotReadyError, RecordDamagedError
from app.feed.dead_letters import DeadLetters
from app.log import EVENTS, REJECTS, Batch, Record
from tests.support.core_log import readable_of
from tests.support.facts import stored, until
from tests.support.world import POISON, listed


class TestPoison:
    async def test_poison_is_written_to_the_rejects_and_the_feed_goes_on(self, world):
        await world.append(stored(1), POISON, stored(2))
        feed, catalog = await world.follow()
        assert await listed(catalog) == [2, 0]
        assert feed.trouble is None
        [(key, letter)] = await world.letters()
        assert key == f"{EVENTS}:0:1"
        assert letter.pop("reason") == "id: Field required"
        assert letter == {"topic": EVENTS, "partition": 0, "offset": 1}

    async def test_a_long_reason_is_cut(self, world):
        await world.append(Record(b"x", json.dumps({"type": "y" * 100_000}).encode()))
        await world.follow()
        [(_, letter)] = await world.letters()
        assert len(letter["reason"]) <= 500

    async def test_a_record_that_only_says_that_it_is_newer_stops_nothing(self, world):
        await world.append(stored(1), Record(b"", b'{"imagegateversion":9}'), stored(2))
        feed, catalog = await world.follow()
        assert await listed(catalog) == [2, 0]
        assert feed.trouble is None
        assert len(await world.letters()) == 1

    async def test_it_is_rejected_once_by_restarts_and_rebuilds(self, world):
        await world.append(POISON, Record(b"", b""), stored(1))
        for name in ("catalog.db", "catalog.db", "second.db", "third.db"):
            await world.follow(name)
            await world.stop()
        await world.append(POISON)
        await world.follow()
        keys = [key for key, _ in await world.letters()]
        assert keys == [f"{EVENTS}:0:{offset}" for offset in (0, 1, 3)]

    async def test_letters_are_read_once_however_many_records_are_rejected(
        self, world, monkeypatch
    ):
        read, tail = [], world.log.tail

        async def spy(topic, partition, start):
            async with aclosing(tail(topic, partition, start)) as batches:
                async for batch in batches:
                    if topic == REJECTS:
                        read.extend(record.position.offset for record in batch.records)
                    yield batch

        feed, _ = await world.follow()
        monkeypatch.setattr(world.log, "tail", spy)
        for _ in range(9):
            await world.append(POISON)
            await asyncio.wait_for(feed.caught_up(), 10)
        assert len(await world.letters()) == 9
        # The last by the test alone, which reads all of them.
        assert read == [*range(8), *range(9)]

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
        # A catalog that is rebuilt passes over it as well.
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
        for offset in (-1, 1, 7):
            with pytest.raises(ConfigurationError, match="no record at offset"):
                await DeadLetters(world.log).skip(offset)
        assert await world.letters() == []

    async def test_is_not_passed_over_at_the_word_of_a_letter_that_makes_no_sense(
        self, world, damaged
    ):
        await world.append(stored(0), stored(1))
        damaged.add(1)
        right = {"topic": EVENTS, "partition": 0, "offset": 1, "next_offset": 2}
        wrong = [
            {"topic": "images"},
            {"partition": 1},
            {"offset": "1"},
            {"offset": 1.0},
            {"offset": -1},
            {"next_offset": 1},
            {"next_offset": 0},
            {"next_offset": 2**48},
            {"next_offset": True},
            {"next_offset": None},
            {"padding": "x" * 9_000},
        ]
        letters = [json.dumps(right | each).encode() for each in wrong]
        letters += [b"", b"[]", b"[" * 100_000, json.dumps(right)[:-1].encode() + b', "offset": 1}']
        await world.log.append(REJECTS, [Record(b"image-events:0:1", each) for each in letters])
        assert await DeadLetters(world.log).skipped(1) is None


async def test_a_reader_of_the_log_writes_no_letters_and_goes_on(world):
    await world.append(POISON, stored(1))
    log, world.log = world.log, readable_of(world.log)
    _, catalog = await world.follow()
    assert await listed(catalog) == [1]
    world.log = log
    assert await world.letters() == []
