"""Pages of facts: one query for all who stand at the same place, and few replays at a time."""

import asyncio

import pytest

from app.feed.pages import PAGE, Pages
from tests.support.facts import stored

READERS = 50


@pytest.fixture
async def counted(world, monkeypatch):
    """A feed and its pages, with `queries`, and `most_at_once` of them."""
    await world.append(*(stored(number) for number in range(5 * PAGE)))
    feed, catalog = await world.follow()
    pages = Pages(feed, catalog)
    pages.queries = pages.most_at_once = running = 0
    real = catalog.facts

    async def counting(*args):
        nonlocal running
        running += 1
        pages.queries += 1
        pages.most_at_once = max(pages.most_at_once, running)
        try:
            return await real(*args)
        finally:
            running -= 1

    monkeypatch.setattr(catalog, "facts", counting)
    return feed, pages


async def test_a_new_event_is_read_once_for_all_whom_it_wakes(counted):
    feed, pages = counted
    found = await asyncio.gather(*(pages.after(feed.sequence - 1) for _ in range(2_000)))
    assert {len(page.facts) for page in found} == {1}
    assert pages.queries == 1


async def test_many_who_are_far_behind_read_two_pages_at_a_time_at_most(counted):
    _, pages = counted
    found = await asyncio.gather(*(pages.after(sequence) for sequence in range(-1, READERS - 1)))
    assert [page.facts[0].sequence for page in found] == list(range(READERS))
    assert {len(page.facts) for page in found} == {PAGE}
    assert pages.most_at_once <= 2


async def test_a_reader_that_leaves_takes_nothing_from_those_who_read_with_it(counted):
    feed, pages = counted
    leaving, staying = (asyncio.create_task(pages.after(feed.sequence - 1)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert len((await staying).facts) == 1


async def test_what_was_shown_to_one_whom_an_event_woke_is_shown_to_those_whose_turn_comes_later(
    counted, world
):
    feed, pages = counted
    before = feed.sequence
    [place] = await world.append(stored(1_000))
    assert await feed.applied_within(place.offset, 10)
    first = await pages.after(before)
    [place] = await world.append(stored(1_001))
    assert await feed.applied_within(place.offset, 10)
    assert pages.shown(before) is first
    assert pages.queries == 1
    # What was applied meanwhile comes next: the change that the page waits for has happened.
    assert first.change.has_happened
    assert [fact.sequence for fact in (await pages.after(first.reached)).facts] == [place.offset]


async def test_a_page_is_shown_for_a_second_only_and_not_to_those_who_join(counted):
    feed, pages = counted
    seconds = [0.0]
    pages._clock = lambda: seconds[0]
    before = feed.sequence - 1
    first = await pages.after(before)
    assert await pages.after(before) is not first
    seconds[0] = 1.0
    assert pages.shown(before) is None


async def test_pages_that_were_shown_are_bounded(counted):
    feed, pages = counted
    for number in range(300):
        await pages.after(feed.sequence - 1 - number % 10, f"key:{number}")
    assert len(pages._shown) <= 64
