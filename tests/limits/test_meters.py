"""Buckets and meters: what a client may use, and what is remembered of it."""

import asyncio
from dataclasses import replace

import pytest

from app.errors import RateLimitedError
from app.limits import meters as rooms
from app.limits.bucket import Bucket, Rate
from app.limits.limits import NONE, of_addresses, of_principals
from app.limits.meters import Meters, WorkerTime, measured, pass_bytes
from app.limits.settings import LimitSettings


class World:
    """Meters with a clock that stands still, and sleeps that move it."""

    def __init__(self, monkeypatch, **limits):
        self.now = 1000.0
        some = replace(NONE, kind="principal", window_seconds=10, **limits)
        self.meters = Meters(some, lambda: self.now)
        self.slept = []
        monkeypatch.setattr(rooms.asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def refused(self, limit, body_bytes=0, client="a"):
        with pytest.raises(RateLimitedError) as caught:
            self.meters.of(client).begin(body_bytes)
        assert caught.value.limit == f"principal-{limit}"
        return int(caught.value.header_values["Retry-After"])


@pytest.fixture
def world(monkeypatch):
    def make(**limits):
        return World(monkeypatch, **limits)

    return make


class TestBucket:
    def test_it_is_full_at_first_and_fills_at_its_rate(self):
        bucket = Bucket(Rate(2, 5))
        assert (bucket.left(100), bucket.full_in(100)) == (10, 0)
        bucket.take(10, 100)
        assert (bucket.left(100), bucket.wait_seconds(1, 100)) == (0, 0.5)
        assert bucket.left(102) == 4
        assert bucket.left(9999) == 10

    def test_debt_is_paid_back_before_anything_is_there(self):
        bucket = Bucket(Rate(2, 5))
        bucket.take(30, 100)
        assert bucket.wait_seconds(0, 100) == 10
        assert bucket.left(109) == 0
        assert bucket.left(111) == 2

    def test_many_small_steps_are_as_good_as_a_large_one(self):
        bucket = Bucket(Rate(10, 1))
        taken, now = 0, 0.0
        for _ in range(100_000):
            if not bucket.wait_seconds(1, now):
                bucket.take(1, now)
                taken += 1
            now += 0.001
        assert 1009 <= taken <= 1010


class TestRequests:
    def test_a_burst_and_then_the_rate(self, world):
        it = world(requests=2)
        for _ in range(20):
            it.meters.of("a").begin(0)
        assert it.refused("requests") == 1
        it.meters.of("b").begin(0)
        it.now += 0.5
        it.meters.of("a").begin(0)
        assert it.refused("requests") == 1

    def test_a_rate_below_one_a_window_still_allows_one(self, world):
        it = world(requests=0.01)
        assert it.meters.policy == '"principal-requests";q=1;w=100'
        it.meters.of("a").begin(0)
        assert it.refused("requests") == 100

    def test_what_is_left_is_said(self, world):
        it = world(requests=2, sent_bytes=1000)
        assert it.meters.policy == (
            '"principal-requests";q=20;w=10, "principal-bytes";q=10000;qu="content-bytes";w=10'
        )
        meter = it.meters.of("a")
        meter.begin(0)
        assert meter.left() == '"principal-requests";r=19;t=1, "principal-bytes";r=10000;t=0'


class TestUploads:
    def test_so_many_at_once(self, world):
        it = world(uploads=2)
        first = it.meters.of("a")
        first.begin(5)
        first.begin(5)
        it.refused("uploads", 5)
        first.begin(0)
        first.end(5)
        first.begin(5)

    def test_so_many_bytes_at_once_and_one_alone_may_have_more(self, world):
        it = world(bytes_in_flight=100)
        meter = it.meters.of("a")
        meter.begin(500)
        it.refused("bytes-in-flight", 1)
        meter.end(500)
        meter.begin(60)
        it.refused("bytes-in-flight", 41)
        meter.begin(40)

    def test_so_many_requests_at_once(self, world):
        it = world(connections=1)
        it.meters.of("a").begin(0)
        it.refused("connections")
        it.meters.of("a").end(0)
        it.meters.of("a").begin(0)


class TestBytes:
    async def test_they_pass_at_the_rate_after_a_burst(self, world):
        it = world(sent_bytes=100)
        meter = it.meters.of("a")
        with measured(meter):
            await pass_bytes(1000)
            assert it.slept == []
            await pass_bytes(50)
            await pass_bytes(100)
        assert it.slept == [0.5, 1.0]

    async def test_a_client_far_behind_is_refused_and_one_just_behind_is_not(self, world):
        it = world(sent_bytes=100)
        meter = it.meters.of("a")
        for _ in range(2):
            # A task that is cut off while it waits leaves its bytes behind.
            it.now -= 1
            meter._bytes.take(550, it.now)
            it.now += 1
        meter.begin(0)
        meter._bytes.take(200, it.now)
        assert it.refused("bytes") == 2

    async def test_outside_of_a_request_nothing_counts(self):
        await pass_bytes(10**12)


class TestWorkers:
    def test_uploads_wait_for_the_time_of_workers_to_be_paid_back(self, world):
        it = world(worker_seconds=0.5)
        meter, time = it.meters.of("a"), WorkerTime()
        meter.begin(10)
        with measured(meter):
            time.use(6.0)
            with pytest.raises(RateLimitedError):
                time.require()
        assert it.refused("worker-seconds", 10) == 2
        meter.begin(0)
        it.now += 2
        meter.begin(10)
        time.require()


class TestMemory:
    def test_clients_that_long_used_nothing_are_forgotten(self, world):
        it = world(requests=1)
        for number in range(100):
            it.meters.of(str(number)).begin(0)
            it.meters.of(str(number)).end(0)
            it.now += 2
        assert len(it.meters) < 10

    def test_there_are_never_more_than_a_bound_beside_those_in_use(self, world, monkeypatch):
        monkeypatch.setattr(rooms, "_REMEMBERED", 50)
        it = world(requests=0.001)
        for number in range(5):
            it.meters.of(f"running {number}").begin(0)
        for number in range(500):
            meter = it.meters.of(str(number))
            meter.begin(0)
            meter.end(0)
        assert len(it.meters) <= 50 + 5
        for number in range(5):
            it.refused("requests", client=f"running {number}")

    def test_counts_of_a_request_that_was_let_in_return_to_zero(self, world):
        it = world(uploads=3, bytes_in_flight=100, connections=3)
        meter = it.meters.of("a")
        for size in (0, 10, 20):
            meter.begin(size)
        for size in (20, 0, 10):
            meter.end(size)
        assert meter.is_full(it.now)


class TestSettings:
    def test_only_those_that_are_set_are_given(self):
        settings = LimitSettings(address_requests=5, window_seconds=3)
        given = of_addresses(settings.given)
        assert given == replace(NONE, kind="address", window_seconds=3, requests=5)
        assert given.exist
        assert not of_principals(settings.given).exist
        assert of_principals(settings).exist


async def test_a_client_that_leaves_while_it_is_slowed_down_keeps_nobody_waiting(monkeypatch):
    meters = Meters(replace(NONE, kind="address", window_seconds=1, sent_bytes=1))
    with measured(meters.of("a")):
        task = asyncio.create_task(pass_bytes(1000))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
