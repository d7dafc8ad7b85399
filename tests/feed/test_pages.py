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
    assert {len(page) for page in found} == {1}
    assert pages.queries == 1


async def test_many_who_are_far_behind_read_two_pages_at_a_time_at_most(counted):
    _, pages = counted
    found = await asyncio.gather(*(pages.after(sequence) for sequence in range(-1, READERS - 1)))
    assert [page[0].sequence for page in found] == list(range(READERS))
    assert {len(page) for page in found} == {PAGE}
    assert pages.most_at_once <= 2


async def test_a_reader_that_leaves_takes_nothing_from_those_who_read_with_it(counted):
    feed, pages = counted
    leaving, staying = (asyncio.create_task(pages.after(feed.sequence - 1)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert len(await staying) == 1
