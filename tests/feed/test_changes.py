"""Changes that many wait for: each is woken once, in turn, a few at a time."""

import asyncio
from itertools import pairwise

from app.feed.changes import Changes

READERS = 100


async def test_an_event_that_wakes_many_leaves_the_loop_to_others_between_them():
    loop, changes = asyncio.get_running_loop(), Changes()
    change, woken, seen = changes.next(), [], []
    for number in range(READERS):
        waiting = loop.create_future()
        waiting.add_done_callback(lambda _, number=number: woken.append(number))
        change.add(waiting)
    changes.happened()
    while len(woken) < READERS:
        seen.append(len(woken))
        await asyncio.sleep(0)
    assert woken == list(range(READERS))
    assert max(after - before for before, after in pairwise(seen)) <= 20


async def test_who_waits_for_what_has_happened_already_stands_behind_those_who_have_not_heard():
    loop, changes = asyncio.get_running_loop(), Changes()
    change, order = changes.next(), []

    def wait(name):
        waiting = loop.create_future()
        waiting.add_done_callback(lambda _: order.append(name))
        change.add(waiting)

    for number in range(READERS):
        wait(number)
    changes.happened()
    await asyncio.sleep(0)
    wait("late")
    while len(order) <= READERS:
        await asyncio.sleep(0)
    assert order == [*range(READERS), "late"]


async def test_who_left_keeps_nobody_else_waiting_and_nothing_is_kept_of_it():
    loop, changes = asyncio.get_running_loop(), Changes()
    change = changes.next()
    leaving, staying = loop.create_future(), loop.create_future()
    for each in (leaving, staying):
        change.add(each)
    change.discard(leaving)
    assert list(change._waiting) == [staying]
    changes.happened()
    leaving.cancel()
    await asyncio.wait_for(staying, 1)
