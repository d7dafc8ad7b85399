"""The rounds of a reader, and the facts that it follows: none lost, none repeated, no queue."""

import asyncio
import gc
from contextlib import aclosing

from app.events.event import ImageDeleted
from app.feed.pages import Pages
from app.feed.rounds import Rounds, facts_after
from tests.support.facts import UNKNOWN, deleted, image_id, stored


class TestRounds:
    async def test_the_first_begins_at_once_and_the_next_with_the_next_event(self, world):
        feed, _ = await world.follow()
        rounds = Rounds(feed)
        assert await anext(rounds)
        waiting = asyncio.create_task(anext(rounds))
        await asyncio.sleep(0)
        assert not waiting.done()
        await world.append(stored(1))
        assert await asyncio.wait_for(waiting, 10)

    async def test_an_event_that_is_applied_during_a_round_makes_the_next_one(self, world):
        feed, _ = await world.follow()
        rounds = Rounds(feed)
        await anext(rounds)
        [position] = await world.append(stored(1))
        assert await feed.applied_within(position.offset, 10)
        assert await asyncio.wait_for(anext(rounds), 10)

    async def test_one_begins_when_the_reader_wants_it_though_nothing_changed(self, world):
        feed, _ = await world.follow()
        rounds = Rounds(feed)
        await anext(rounds)
        rounds.wake_at = asyncio.get_running_loop().time() + 0.01
        assert not await asyncio.wait_for(anext(rounds), 10)

    async def test_only_events_of_an_owners_images_begin_one_of_its_own(self, world):
        feed, _ = await world.follow()
        rounds, all_rounds = Rounds(feed, "key:1"), Rounds(feed)
        assert await anext(rounds)
        waiting = asyncio.create_task(anext(rounds))
        foreign = ImageDeleted(image_id(7), "key:7")
        await anext(all_rounds)
        for event in (stored(1, owner="key:2"), stored(2), foreign, UNKNOWN):
            await world.append(event)
            # Whom it wakes is known once it has woken those who follow everything.
            assert await asyncio.wait_for(anext(all_rounds), 10)
            await asyncio.sleep(0)
            assert not waiting.done()
        await world.append(stored(3, owner="key:1"))
        assert await asyncio.wait_for(waiting, 10)

    async def test_only_events_of_images_from_a_source_begin_one_of_its_own(self, world):
        feed, _ = await world.follow()
        all_rounds = Rounds(feed)
        of = [Rounds(feed, None, "door"), Rounds(feed, "key:1", "door")]
        for rounds in (*of, all_rounds):
            assert await anext(rounds)
        waiting = [asyncio.create_task(anext(rounds)) for rounds in of]
        foreign = (
            stored(1, source="gate", owner="key:1"),
            stored(2, owner="key:1"),
            ImageDeleted(image_id(7), "key:1", source="gate"),
        )
        for event in foreign:
            await world.append(event)
            assert await asyncio.wait_for(anext(all_rounds), 10)
            await asyncio.sleep(0)
            assert not any(each.done() for each in waiting)
        await world.append(stored(3, source="door", owner="key:2"))
        assert await asyncio.wait_for(waiting[0], 10)
        assert not waiting[1].done()
        # An earlier release did not write the source of what it deleted.
        await world.append(ImageDeleted(image_id(8), "key:1"))
        assert await asyncio.wait_for(waiting[1], 10)

    async def test_a_deletion_that_does_not_say_whose_image_it_was_begins_one_of_everyones(
        self, world
    ):
        await world.append(stored(1, owner="key:1"))
        feed, _ = await world.follow()
        rounds = Rounds(feed, "key:1")
        await anext(rounds)
        waiting = asyncio.create_task(anext(rounds))
        await world.append(deleted(1))
        assert await asyncio.wait_for(waiting, 10)

    async def test_nothing_is_kept_of_owners_who_wait_no_longer(self, world):
        feed, _ = await world.follow()
        for number in range(100):
            await anext(Rounds(feed, f"key:{number}"))
        gc.collect()
        assert not feed.changes._next

    async def test_closing_ends_them_for_everyone_and_nobody_waits_after_it(self, world):
        feed, _ = await world.follow()
        readers = [Rounds(feed), Rounds(feed), Rounds(feed, "key:1")]
        for rounds in readers:
            await anext(rounds)
        waiting = [asyncio.create_task(anext(rounds, None)) for rounds in readers]
        await asyncio.sleep(0)
        feed.close_streams()
        ended = await asyncio.wait_for(asyncio.gather(*waiting, anext(Rounds(feed), None)), 1)
        assert ended == [None] * 4
        assert feed.closing


class TestFacts:
    async def test_every_fact_comes_once_and_in_order_while_events_are_appended(self, world):
        await world.append(*(stored(number) for number in range(450)))
        feed, catalog = await world.follow()
        seen = []

        async def read():
            async with aclosing(facts_after(feed, Pages(feed, catalog), 99, 60)) as pages:
                async for page in pages:
                    seen.extend(fact.sequence for fact in page.facts)
                    if seen[-1] == 599:
                        return

        reading = asyncio.create_task(read())
        for number in range(450, 600, 10):
            await world.append(*(stored(number + step) for step in range(10)))
        await asyncio.wait_for(reading, 30)
        assert seen == list(range(100, 600))

    async def test_an_owner_gets_its_own_and_asks_for_nothing_while_others_upload(
        self, world, monkeypatch
    ):
        await world.append(*(stored(number, owner=f"key:{number % 2}") for number in range(90)))
        feed, catalog = await world.follow()
        asked, real = [], catalog.facts

        async def counting(sequence, *wanted):
            asked.append(sequence)
            return await real(sequence, *wanted)

        monkeypatch.setattr(catalog, "facts", counting)
        pages, seen = facts_after(feed, Pages(feed, catalog), -1, 60, "key:1"), []
        async with aclosing(pages):
            while len(seen) < 45:
                seen += [fact.sequence for fact in (await anext(pages)).facts]
            assert seen == list(range(1, 90, 2))
            waiting = asyncio.create_task(anext(pages))
            await asyncio.sleep(0)
            before = len(asked)
            for number in range(90, 150):
                [place] = await world.append(stored(number, owner="key:0"))
            assert await feed.applied_within(place.offset, 10)
            assert len(asked) == before
            await world.append(stored(150, owner="key:1"))
            assert [fact.sequence for fact in (await asyncio.wait_for(waiting, 10)).facts] == [150]
            assert len(asked) == before + 1

    async def test_an_empty_page_comes_while_nothing_happens_and_facts_put_it_off(self, world):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        clock = asyncio.get_running_loop().time
        async with aclosing(facts_after(feed, Pages(feed, catalog), -1, 0.2)) as pages:
            assert [fact.sequence for fact in (await anext(pages)).facts] == [0]
            for _ in range(2):
                before = clock()
                assert not (await asyncio.wait_for(anext(pages), 10)).facts
                assert clock() - before > 0.15
            await world.append(stored(2))
            page = await asyncio.wait_for(anext(pages), 10)
            assert [fact.sequence for fact in page.facts] == [1]

    async def test_they_end_when_the_feed_closes(self, world):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        pages = facts_after(feed, Pages(feed, catalog), -1, 60)
        await anext(pages)
        waiting = asyncio.create_task(anext(pages, "the end"))
        await asyncio.sleep(0)
        feed.close_streams()
        assert await asyncio.wait_for(waiting, 1) == "the end"

    async def test_they_end_after_a_page_though_more_were_to_come_when_the_feed_closes(self, world):
        await world.append(*(stored(number) for number in range(250)))
        feed, catalog = await world.follow()
        pages = facts_after(feed, Pages(feed, catalog), -1, 60)
        first = await anext(pages)
        feed.close_streams()
        assert len(first.facts) < 250
        assert await anext(pages, "the end") == "the end"

    async def test_they_end_when_the_catalog_is_rebuilt(self, world):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        pages, late = (facts_after(feed, Pages(feed, catalog), -1, 60) for _ in range(2))
        await anext(pages)
        waiting = asyncio.create_task(anext(pages, "the end"))
        await asyncio.sleep(0)
        feed.start_epoch(feed.progress)
        assert await asyncio.wait_for(waiting, 1) == "the end"
        # Its sequence number was of the former epoch as well.
        assert await anext(late, "the end") == "the end"

    async def test_they_end_though_the_feed_closes_while_a_page_is_read(self, world, monkeypatch):
        await world.append(stored(1))
        feed, catalog = await world.follow()
        pages = Pages(feed, catalog)
        real = pages.after

        async def closing(*place):
            feed.close_streams()
            return await real(*place)

        monkeypatch.setattr(pages, "after", closing)
        following = facts_after(feed, pages, 0, 60)
        assert await asyncio.wait_for(anext(following, "the end"), 5) == "the end"
