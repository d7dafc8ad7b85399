"""Events that a later release or a newer version wrote, and others that cannot be applied."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from app.errors import NotReadyError
from app.feed.dead_letters import DeadLetters
from app.feed.pages import Pages
from app.feed.rounds import facts_after
from app.log import EVENTS, REJECTS, Record
from tests.support.facts import NEWER, UNKNOWN, deleted, image_id, stored, until
from tests.support.world import facts, listed, starts_of_tails


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
        reading = asyncio.create_task(pages_of(facts_after(feed, Pages(feed, catalog), -1, 60)))
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
    return [fact.sequence async for page in pages for fact in page.facts]


class TestRecordThatCannotBeApplied:
    async def test_is_passed_over_at_an_operators_word(self, world, monkeypatch):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        apply = catalog.apply

        async def faulty(events, reached, starts):
            if any(each.sequence == 2 for each in events):
                raise ZeroDivisionError
            await apply(events, reached, starts)

        monkeypatch.setattr(catalog, "apply", faulty)
        await world.append(stored(2), stored(3), stored(4))
        await until(lambda: "ZeroDivisionError" in (feed.trouble or ""))
        await DeadLetters(world.log).skip(2)
        await asyncio.wait_for(feed.caught_up(), 10)
        assert await listed(catalog) == [3, 1, 0]
        assert feed.trouble is None
