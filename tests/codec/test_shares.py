"""Shares of clients in the codec workers: by the seconds that they used lately."""

from __future__ import annotations

import pytest

from app.codec.shares import WorkerShares
from app.codec.tasks import Kind


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shares(clock):
    return WorkerShares(2, clock)


def use(shares, clock, client, seconds):
    """Let a client use a worker for some seconds."""
    turn = shares.wait(client, Kind.UPLOAD)
    assert shares.next(2) is turn
    clock.now += seconds
    shares.end(turn)


def order(shares, free=2):
    """Return the clients of all that wait, in the order of their turns."""
    found = []
    while (turn := shares.next(free)) is not None:
        found.append(turn.client.name)
    return found


async def test_of_clients_that_used_nothing_the_first_is_next(shares):
    for client in "abc":
        shares.wait(client, Kind.UPLOAD)
    assert order(shares) == ["a", "b", "c"]


async def test_the_client_that_used_least_is_next_and_not_the_one_that_waits_longest(shares, clock):
    use(shares, clock, "greedy", 2.0)
    use(shares, clock, "modest", 0.1)
    for client in ["greedy", "greedy", "modest", "new"]:
        shares.wait(client, Kind.UPLOAD)
    assert order(shares) == ["new", "modest", "greedy", "greedy"]


async def test_time_in_a_worker_counts_before_it_ends(shares, clock):
    for client in ["a", "a", "b"]:
        shares.wait(client, Kind.UPLOAD)
    assert shares.next(2).client.name == "a"
    clock.now += 1
    assert order(shares) == ["b", "a"]


async def test_use_fades(shares, clock):
    use(shares, clock, "before", 1.0)
    clock.now += 9.0
    use(shares, clock, "just now", 0.5)
    for client in ["just now", "before"]:
        shares.wait(client, Kind.UPLOAD)
    assert order(shares) == ["before", "just now"]


async def test_the_last_free_worker_is_kept_from_heavy_images(shares):
    heavy = shares.wait("a", Kind.HEAVY)
    light = shares.wait("a", Kind.UPLOAD)
    assert shares.next(1) is light
    assert shares.next(1) is None
    assert shares.next(2) is heavy


async def test_the_last_free_worker_is_kept_from_a_client_beyond_its_share(shares, clock):
    shares.charge("greedy", 11.0)
    use(shares, clock, "other", 0.01)
    beyond = shares.wait("greedy", Kind.UPLOAD)
    assert shares.exceeds(beyond)
    assert shares.next(1) is None
    assert shares.next(2) is beyond


async def test_a_client_that_is_alone_may_use_every_worker(shares, clock):
    for _ in range(4):
        use(shares, clock, "only", 4.0)
    alone = shares.wait("only", Kind.UPLOAD)
    assert not shares.exceeds(alone)
    assert shares.next(1) is alone


async def test_a_client_within_its_share_gets_the_last_worker_beside_others(shares, clock):
    use(shares, clock, "a", 1.0)
    use(shares, clock, "b", 1.0)
    turn = shares.wait("a", Kind.UPLOAD)
    assert shares.next(1) is turn


async def test_work_for_downloads_is_on_half_of_the_workers(clock):
    shares = WorkerShares(4, clock)
    first, second, third = [shares.wait("a", Kind.DOWNLOAD) for _ in range(3)]
    upload = shares.wait("b", Kind.UPLOAD)
    assert [shares.next(4), shares.next(3), shares.next(2)] == [upload, first, second]
    assert shares.next(1) is None
    shares.end(first)
    assert shares.next(2) is third


async def test_an_only_worker_does_everything(clock):
    shares = WorkerShares(1, clock)
    heavy = shares.wait("a", Kind.HEAVY)
    assert shares.next(1) is heavy


async def test_a_charge_counts_as_use(shares, clock):
    shares.charge("a", 0.3)
    for client in "ab":
        shares.wait(client, Kind.UPLOAD)
    assert order(shares) == ["b", "a"]


async def test_who_leaves_the_queue_is_passed_over(shares):
    left = shares.wait("a", Kind.UPLOAD)
    stays = shares.wait("b", Kind.HEAVY)
    shares.leave(left)
    assert shares.next(2) is stays
    assert shares.next(2) is None


async def test_clients_that_use_nothing_are_forgotten(shares, clock):
    for number in range(1_000):
        use(shares, clock, f"client {number}", 0.001)
    clock.now += 11
    use(shares, clock, "new", 0.1)
    assert list(shares._clients) == ["new"]
