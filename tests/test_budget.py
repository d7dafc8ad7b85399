"""The byte budget: first come, first served, and never more than there is."""

import asyncio

import pytest

from app.budget import ByteBudget
from app.errors import OverloadedError


def patient(total_bytes=100):
    return ByteBudget(total_bytes, patience_seconds=30)


async def waiting(budget, needed_bytes):
    """Reserve a part that is not free; returns the task once it is in the queue."""
    task = asyncio.create_task(budget.reserve(needed_bytes))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def expect_free(budget, free_bytes):
    """Check that nothing waits, and that so many bytes can be reserved, but not one more."""
    async with asyncio.timeout(1):
        held = await budget.reserve(free_bytes)
    one_more = await waiting(budget, 1)
    one_more.cancel()
    await asyncio.wait({one_more})
    held.release()


async def test_all_of_the_budget_can_be_held_and_no_byte_more():
    budget = ByteBudget(100, patience_seconds=0)
    for _ in range(4):
        await budget.reserve(25)
    with pytest.raises(OverloadedError) as caught:
        await budget.reserve(1)
    assert int(caught.value.header_values["Retry-After"]) > 0


async def test_a_reservation_waits_until_enough_is_released():
    budget = patient()
    first, second = await budget.reserve(60), await budget.reserve(40)
    task = await waiting(budget, 70)
    first.release()
    assert not task.done()
    second.release()
    (await task).release()
    await expect_free(budget, 100)


async def test_patience_ends_in_an_error_that_says_when_to_come_back():
    budget = ByteBudget(100, patience_seconds=0.01)
    held = await budget.reserve(100)
    with pytest.raises(OverloadedError) as caught:
        await budget.reserve(1)
    assert int(caught.value.header_values["Retry-After"]) > 0
    held.release()
    await expect_free(budget, 100)


async def test_the_first_to_come_is_served_first_though_later_ones_would_fit():
    budget = patient()
    held = await budget.reserve(50)
    large = await waiting(budget, 80)
    small = await waiting(budget, 10)
    held.release()
    await asyncio.gather(large, small)
    await expect_free(budget, 10)


async def test_shrinking_lets_in_the_next_and_counts_once():
    budget = patient()
    held = await budget.reserve(100)
    task = await waiting(budget, 30)
    held.shrink(70)
    part = await task
    held.shrink(90)
    await expect_free(budget, 0)
    held.release()
    held.release()
    part.release()
    await expect_free(budget, 100)


async def test_an_upload_larger_than_the_budget_gets_all_of_it():
    budget = patient()
    (await budget.reserve(1_000_000)).release()
    await expect_free(budget, 100)


async def test_a_caller_that_leaves_the_queue_lets_in_those_behind():
    budget = patient()
    await budget.reserve(50)
    large = await waiting(budget, 80)
    small = await waiting(budget, 50)
    large.cancel()
    await small
    await expect_free(budget, 0)


async def test_a_caller_that_leaves_just_as_its_turn_comes_returns_its_bytes():
    budget = patient()
    held = await budget.reserve(100)
    task = await waiting(budget, 80)
    held.release()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await expect_free(budget, 100)


async def test_a_storm_of_uploads_leaves_the_budget_whole():
    budget = ByteBudget(100, patience_seconds=0.001)
    most = held_bytes = 0

    async def upload(size_bytes):
        nonlocal most, held_bytes
        held = await budget.reserve(size_bytes)
        held_bytes += size_bytes
        most = max(most, held_bytes)
        try:
            await asyncio.sleep(0)
        finally:
            held_bytes -= size_bytes
            held.release()

    tasks = [asyncio.create_task(upload(number % 60 + 1)) for number in range(500)]
    await asyncio.sleep(0)
    for task in tasks[::7]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert 60 <= most <= 100
    await expect_free(budget, 100)
