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


async def test_a_slice_is_free_once_each_time_round_the_loop():
    slices = Slices()
    assert [slices.take(), slices.take()] == [True, False]
    await asyncio.sleep(0)
    assert [slices.take(), slices.take()] == [True, False]


async def test_slices_give_way_to_connections_that_are_accepted_but_not_for_ever():
    slices, rounds = Slices(), []

    async def until_done(rounds_with_connections):
        done = asyncio.Event()
        slices.add("a", done.set)
        rounds.append(0)
        while not done.is_set():
            if rounds[-1] < rounds_with_connections:
                slices.give_way()
            rounds[-1] += 1
            await asyncio.sleep(0)

    for connections in (0, 1, 3, 1_000):
        await until_done(connections)
    assert rounds == [1, 2, 4, 9]


async def test_nothing_waits_for_connections_of_before():
    slices = Slices()
    slices.give_way()
    assert not slices.take()
    await asyncio.sleep(0)
    assert slices.take()
