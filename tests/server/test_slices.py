"""Slices of long work take turns: clients first, then the connections of each."""

import asyncio

from app.server.slices import Slices


async def test_one_slice_runs_each_time_round_the_loop():
    slices, done = Slices(), []
    for number in range(3):
        slices.add("a", lambda number=number: done.append(number))
    assert done == []
    for expected in ([0], [0, 1], [0, 1, 2]):
        await asyncio.sleep(0)
        assert done == expected


async def test_clients_take_turns_however_many_slices_one_has():
    slices, done, ended = Slices(), [], asyncio.Event()

    def work(client, left):
        done.append(client)
        if left:
            slices.add(client, lambda: work(client, left - 1))
        elif client == "b":
            ended.set()

    for _ in range(5):
        slices.add("a", lambda: work("a", 9))
    slices.add("b", lambda: work("b", 1))
    await ended.wait()
    assert done[:4] == ["a", "b", "a", "b"]


async def test_work_that_fails_does_not_stop_the_others():
    slices, ended = Slices(), asyncio.Event()
    failures = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    def fail():
        raise ValueError("a slice")

    slices.add("a", fail)
    slices.add("a", ended.set)
    await ended.wait()
    assert len(failures) == 1
