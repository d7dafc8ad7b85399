"""Events that cannot be processed: they are skipped, or stop the follower."""

import asyncio
import json
from contextlib import aclosing

import pytest
from structlog.testing import capture_logs

from app.errors import ConfigurationError, LogUnavailableError, NotReadyError, RecordDamagedError
from app.feed.dead_letters import DeadLetters
from app.feed.rounds import facts_after
from app.log import EVENTS, REJECTS, Batch, Record
from tests.support.facts import NEWER, UNKNOWN, deleted, image_id, stored, until
from tests.support.world import POISON, facts, listed, starts_of_tails


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
        await world.append(stored(1), Record(b"", b'{"imagegateversion":2}'), stored(2))
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


class TestLaterRelease:
    async def test_an_event_of_an_unknown_type_is_skipped_without_a_letter(self, world):
        await world.append(stored(1), UNKNOWN, stored(2))
        feed, catalog = await world.follow()
        assert await listed(catalog) == [2, 0]
        assert [sequence for sequence, *_ in await facts(catalog)] == [0, 2]
        assert feed.sequence == 2
        assert await world.letters() == []


class TestNewerVersion:
    async def test_a_newer_event_stops_the_feed_and_it_says_why(self, world, monkeypatch):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        starts = starts_of_tails(world.log, monkeypatch)
        with capture_logs() as logs:
            await world.append(stored(3), NEWER, stored(2))
            await until(lambda: feed.is_stopped)
            await world.append(stored(4))
            await until(lambda: starts.count(2) > 5)
        assert "newer version at offset 2" in feed.trouble
        with pytest.raises(NotReadyError, match="newer version at offset 2"):
            feed.require_caught_up()
        # What is before it counts, also of the same batch.
        assert await listed(catalog) == [1, 0]
        assert feed.sequence == 1
        assert await world.letters() == []
        assert [line["event"] for line in logs if line["event"].startswith("feed_")] == [
            "feed_stopped"
        ]

    async def test_what_is_listed_may_be_served_and_nothing_else(self, world):
        await world.append(stored(1))
        feed, _ = await world.follow()
        feed.require_listed(False)
        await world.append(NEWER)
        await until(lambda: feed.is_stopped)
        feed.require_listed(True)
        with pytest.raises(NotReadyError, match="behind"):
            feed.require_listed(False)
        # An empty catalog lists nothing: it must not be asked as if it knew everything.
        feed.distrust_catalog()
        with pytest.raises(NotReadyError):
            feed.require_listed(True)

    async def test_a_restart_does_not_pass_it_and_knows_what_is_before_it(self, world):
        await world.append(stored(1))
        await world.follow()
        await world.append(stored(2), NEWER, deleted(1))
        await world.stop()
        for name in ("catalog.db", "new.db"):
            feed, catalog = await world.follow(name, caught_up=False)
            await until(lambda feed=feed: feed.is_stopped)
            assert "upgrade" in feed.trouble
            assert await listed(catalog) == [1, 0]
            assert not await catalog.is_deleted(image_id(1))
            feed.require_listed(True)

    async def test_readers_of_facts_end_rather_than_wait_for_what_does_not_come(self, world):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        reading = asyncio.create_task(pages_of(facts_after(feed, catalog, -1, 60)))
        await world.append(NEWER)
        assert await asyncio.wait_for(reading, 10) == [0]

    async def test_it_is_passed_over_at_an_operators_word_without_a_restart(self, world):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        await world.append(NEWER, stored(2))
        await until(lambda: feed.is_stopped)
        with capture_logs() as logs:
            assert await DeadLetters(world.log).skip(1) == 2
            await asyncio.wait_for(feed.caught_up(), 10)
        assert await listed(catalog) == [2, 0]
        assert feed.trouble is None
        feed.require_caught_up()
        assert {"feed_skipped", "feed_caught_up"} <= {line["event"] for line in logs}
        other, catalog = await world.follow("other.db")
        assert await listed(catalog) == [2, 0]
        assert other.trouble is None

    async def test_a_word_for_one_lets_the_next_stop_the_feed_again(self, world):
        await world.append(NEWER, stored(1), NEWER)
        feed, catalog = await world.follow(caught_up=False)
        await until(lambda: feed.is_stopped)
        await DeadLetters(world.log).skip(0)
        await until(lambda: feed.sequence == 1 and feed.is_stopped)
        assert "offset 2" in feed.trouble
        assert await listed(catalog) == [1]

    async def test_a_word_that_leads_beyond_the_end_counts_for_nothing(self, world, monkeypatch):
        await world.append(stored(1), NEWER)
        starts = starts_of_tails(world.log, monkeypatch)
        feed, _ = await world.follow(caught_up=False)
        letter = {"topic": EVENTS, "partition": 0, "offset": 1, "next_offset": 2**47}
        await world.log.append(REJECTS, [Record(b"", json.dumps(letter).encode())])
        await until(lambda: starts.count(1) > 5)
        assert (feed.sequence, feed.epoch) == (0, 1)


async def pages_of(pages):
    return [fact.sequence async for page in pages for fact in page]


class TestRecordThatCannotBeApplied:
    async def test_is_passed_over_at_an_operators_word(self, world, monkeypatch):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        apply = catalog.apply

        async def faulty(events, reached):
            if any(each.sequence == 2 for each in events):
                raise ZeroDivisionError
            await apply(events, reached)

        monkeypatch.setattr(catalog, "apply", faulty)
        await world.append(stored(2), stored(3), stored(4))
        await until(lambda: "ZeroDivisionError" in (feed.trouble or ""))
        await DeadLetters(world.log).skip(2)
        await asyncio.wait_for(feed.caught_up(), 10)
        assert await listed(catalog) == [3, 1, 0]
        assert feed.trouble is None


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
