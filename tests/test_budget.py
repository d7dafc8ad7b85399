"""The byte budget: never more than there is, no deadlock, and each client its share."""

import asyncio
import random

import pytest

from app.budget import ByteBudget
from app.errors import OverloadedError, ShareExceededError

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def patient(total_bytes=100, **options):
    return ByteBudget(total_bytes, patience_seconds=30, **options)


async def waiting(coroutine):
    """Begin to reserve or to grow; returns the task once it waits for its turn."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def expect_free(budget, free_bytes):
    """Check that nothing waits, and that so many bytes can be reserved, but not one more."""
    async with asyncio.timeout(1):
        held = await budget.reserve(C, free_bytes)
    one_more = await waiting(budget.reserve(C, 1))
    one_more.cancel()
    await asyncio.wait({one_more})
    held.release()


def whole(budget):
    """Tell whether nothing is left of anything that was ever held, wanted or late."""
    return (
        budget._free_bytes == budget._total_bytes
        and not (budget._wanted_bytes or budget._ending_bytes)
        and not (budget._shares or budget._growing or budget._lagging or budget._stalled)
        and budget._turns.next() is None
    )


class TestReserving:
    async def test_all_of_the_budget_can_be_held_and_no_byte_more(self):
        budget = ByteBudget(100, patience_seconds=0)
        for _ in range(4):
            await budget.reserve(A, 25)
        with pytest.raises(OverloadedError) as caught:
            await budget.reserve(A, 1)
        assert int(caught.value.header_values["Retry-After"]) > 0

    async def test_a_reservation_waits_until_enough_is_released(self):
        budget = patient()
        first, second = await budget.reserve(A, 60), await budget.reserve(A, 40)
        task = await waiting(budget.reserve(A, 70))
        first.release()
        assert not task.done()
        second.release()
        (await task).release()
        assert whole(budget)

    async def test_patience_ends_in_an_error_that_says_when_to_come_back(self):
        budget = ByteBudget(100, patience_seconds=0.01)
        held = await budget.reserve(A, 100)
        with pytest.raises(OverloadedError) as caught:
            await budget.reserve(B, 1)
        assert int(caught.value.header_values["Retry-After"]) > 0
        held.release()
        assert whole(budget)

    async def test_the_first_to_come_is_served_first_though_later_ones_would_fit(self):
        budget = patient()
        held = await budget.reserve(A, 50)
        large = await waiting(budget.reserve(A, 80))
        small = await waiting(budget.reserve(A, 10))
        held.release()
        await asyncio.gather(large, small)
        await expect_free(budget, 10)

    async def test_shrinking_lets_in_the_next_and_counts_once(self):
        budget = patient()
        held = await budget.reserve(A, 100)
        task = await waiting(budget.reserve(B, 30))
        held.shrink(70)
        part = await task
        held.shrink(90)
        await expect_free(budget, 0)
        held.release()
        held.release()
        part.release()
        assert whole(budget)

    async def test_an_upload_larger_than_the_budget_gets_all_of_it(self):
        budget = patient()
        (await budget.reserve(A, 1_000_000)).release()
        assert whole(budget)

    async def test_a_caller_that_leaves_the_queue_lets_in_those_behind(self):
        budget = patient()
        await budget.reserve(A, 50)
        large = await waiting(budget.reserve(A, 80))
        small = await waiting(budget.reserve(A, 50))
        large.cancel()
        await small
        await expect_free(budget, 0)

    async def test_a_caller_that_leaves_just_as_its_turn_comes_returns_its_bytes(self):
        budget = patient()
        held = await budget.reserve(A, 100)
        task = await waiting(budget.reserve(B, 80))
        held.release()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert whole(budget)

    async def test_a_late_second_release_takes_nothing_from_those_who_came_since(self):
        budget = patient()
        early = await budget.reserve(A, 10)
        early.release()
        late = await budget.reserve(A, 20)
        early.release()
        await expect_free(budget, 80)
        late.release()
        assert whole(budget)


class TestGrowing:
    async def test_what_is_announced_costs_nothing_before_it_comes(self):
        budget = patient(1000, largest_bytes=100)
        silent = [await budget.reserve(A, 1, most_bytes=100) for _ in range(500)]
        assert budget._free_bytes == 500
        for each in silent:
            each.release()
        assert whole(budget)

    async def test_nothing_grows_beyond_what_one_may_hold(self):
        budget = patient(1000, largest_bytes=100)
        held = await budget.reserve(A, 1, most_bytes=10_000)
        await held.grow(10_000)
        assert held.held_bytes == 100

    async def test_the_oldest_grows_to_its_end_though_the_budget_is_full_for_all_others(self):
        budget = patient(300, largest_bytes=100)
        oldest = await budget.reserve(A, 10, most_bytes=100)
        others = [await budget.reserve(B, 100, most_bytes=100) for _ in range(2)]
        await waiting(budget.reserve(C, 1))
        await oldest.grow(100)
        assert oldest.held_bytes == 100
        assert [each.held_bytes for each in others] == [100, 100]

    async def test_everybody_in_the_middle_of_an_upload_comes_to_an_end(self):
        budget = patient(250, largest_bytes=100)
        ended = []

        async def upload(client):
            held = await budget.reserve(client, 10, most_bytes=100)
            for to_bytes in range(20, 101, 10):
                await asyncio.sleep(0)
                await held.grow(to_bytes)
            ended.append(client)
            held.release()

        async with asyncio.timeout(5):
            await asyncio.gather(*(upload(f"192.0.2.{number}") for number in range(25)))
        assert len(ended) == 25
        assert whole(budget)

    async def test_of_one_clients_uploads_the_oldest_is_next_so_that_some_come_to_an_end(self):
        budget = patient(200, largest_bytes=50)
        oldest, older, newer = [await budget.reserve(A, 10, most_bytes=50) for _ in range(3)]
        await oldest.grow(49)
        full = [await budget.reserve(B, size) for size in (50, 50, 30)]
        second = await waiting(newer.grow(20))
        first = await waiting(older.grow(20))
        full[0].shrink(40)
        await first
        assert not second.done()


class TestShares:
    async def test_the_client_that_holds_less_is_next_though_it_came_later(self):
        budget = patient()
        greedy = await budget.reserve(A, 60)
        held = await budget.reserve(B, 40)
        more = await waiting(budget.reserve(A, 20))
        newcomer = await waiting(budget.reserve(C, 20))
        held.shrink(20)
        await newcomer
        assert not more.done()
        greedy.release()
        await more

    async def test_a_client_over_its_share_is_told_so_and_another_is_not(self):
        budget = ByteBudget(100, patience_seconds=0.01)
        await budget.reserve(A, 90)
        other = await budget.reserve(B, 10)
        with pytest.raises(ShareExceededError):
            await budget.reserve(A, 1)
        with pytest.raises(OverloadedError):
            await budget.reserve(B, 1)
        other.release()
        with pytest.raises(OverloadedError):  # its own load is all there is now
            await budget.reserve(A, 20)

    async def test_a_client_alone_may_use_everything(self):
        budget = ByteBudget(100, patience_seconds=0, largest_bytes=10)
        held = [await budget.reserve(A, 10) for _ in range(10)]
        assert sum(each.held_bytes for each in held) == 100

    async def test_who_waits_beyond_its_share_ends_at_once_for_who_waits_within(self):
        budget = patient(largest_bytes=30)
        oldest, older, newer = [await budget.reserve(A, 20, most_bytes=30) for _ in range(3)]
        await oldest.grow(29)
        await budget.reserve(A, 30)
        older_waits, newer_waits = [await waiting(each.grow(30)) for each in (older, newer)]
        newcomer = await waiting(budget.reserve(B, 15))
        with pytest.raises(ShareExceededError):
            await newer_waits
        newer.release()
        assert (await newcomer).held_bytes == 15
        assert not older_waits.done()

    async def test_nobody_is_refused_for_one_that_is_over_its_own_share(self):
        budget = patient()
        await budget.reserve(A, 50)
        held = await budget.reserve(B, 50)
        waits = [await waiting(budget.reserve(client, 10)) for client in (A, B)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waits)
        held.release()
        await asyncio.gather(*waits)


class TestLagging:
    async def test_nobody_who_lags_is_cut_off_while_nobody_waits(self):
        budget, cut = patient(), []
        late = await budget.reserve(A, 100)
        late.lag(lambda: cut.append(A))
        assert cut == []

    async def test_who_waits_has_those_cut_off_that_lag_of_the_client_that_holds_most(self):
        budget, cut = patient(), []
        for client, size in ((B, 30), (A, 35), (A, 35)):
            late = await budget.reserve(client, size)
            late.lag(lambda late=late: cut.append(late))
        newcomer = await waiting(budget.reserve(C, 40))
        assert [late.share.client for late in cut] == [A, A]
        for late in cut:
            late.release()
        await newcomer

    async def test_no_more_are_cut_off_than_those_that_wait_need(self):
        budget, cut = patient(), []
        for _ in range(10):
            late = await budget.reserve(A, 10)
            late.lag(lambda late=late: cut.append(late))
        for _ in range(3):
            await waiting(budget.reserve(B, 5))
        assert len(cut) == 2

    async def test_who_falls_behind_while_others_wait_is_cut_off_at_once(self):
        budget, cut = patient(), []
        late = await budget.reserve(A, 100)
        await waiting(budget.reserve(B, 1))
        late.lag(lambda: cut.append(A))
        assert cut == [A]

    async def test_who_has_caught_up_is_not_cut_off(self):
        budget, cut = patient(), []
        late = await budget.reserve(A, 100)
        late.lag(lambda: cut.append(A))
        late.keep_up()
        await waiting(budget.reserve(B, 1))
        assert cut == []


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_no_more_is_held_than_there_is_and_all_of_it_comes_back(seed):
    """Clients that come, grow, lag, are cut off, leave at any moment or send all, in any order."""
    chance = random.Random(seed)
    total, largest = 1000, chance.choice([50, 300, 1000])
    budget = ByteBudget(total, chance.choice([0, 0.002, 30]), largest)
    ended = []

    def check():
        held = sum(share.held_bytes for share in budget._shares.values())
        assert held <= total
        assert budget._free_bytes == total - held
        _, *others = budget._growing or [None]
        assert sum(each.held_bytes for each in others) <= total - largest

    async def upload(client):
        held = await budget.reserve(client, chance.randint(1, 20), chance.randint(1, 400))
        me = asyncio.current_task()
        try:
            while held.held_bytes < held.most_bytes and chance.random() < 0.9:
                await asyncio.sleep(0)
                if chance.random() < 0.2:
                    held.lag(me.cancel)
                await held.grow(held.held_bytes + chance.randint(1, 60))
                held.keep_up()
                check()
            held.shrink(chance.randint(0, 300))
            await asyncio.sleep(0)
        finally:
            held.release()
            ended.append(client)
            check()

    tasks = []
    for number in range(150):
        tasks.append(asyncio.create_task(upload(f"192.0.2.{chance.randint(1, 5)}")))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if number % 7 == 0:
            chance.choice(tasks).cancel()
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    expected = (asyncio.CancelledError, OverloadedError, ShareExceededError)
    assert all(outcome is None or isinstance(outcome, expected) for outcome in outcomes)
    assert ended
    assert whole(budget)
