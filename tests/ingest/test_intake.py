"""The pace of a body: who is behind it, who is cut off, and what does not count."""

import asyncio

import pytest

from app.budget import ByteBudget
from app.client import NOBODY
from app.errors import RequestTimeoutError
from app.ingest import intake as intakes
from app.ingest.intake import COPIES, Intake, memory_for, within
from app.ingest.settings import BodySettings
from app.records.value import ValueEncoding
from tests.support.facts import until

MAX_BYTES = 100_000
MOST = memory_for(MAX_BYTES, MAX_BYTES)


class Body:
    """A body that comes in pieces, as a test says."""

    def __init__(self, budget, reservation, grace_seconds, min_rate):
        pace = BodySettings(slow_body_seconds=grace_seconds, min_body_rate=min_rate)
        self.budget, self.reservation = budget, reservation
        self.intake = Intake(reservation, pace, MAX_BYTES, self._passed)
        self.pieces = asyncio.Queue()
        self.counted = 0
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.task = asyncio.create_task(self._receive())

    async def _receive(self):
        try:
            async with self.intake.open():
                while piece := await self.pieces.get():
                    await self.intake.count(piece)
                    self.counted += piece
        finally:
            self.reservation.release()

    async def _passed(self, _):
        await self.allowed.wait()

    @property
    def lags(self):
        return self.reservation in self.budget._lagging


@pytest.fixture
async def new_body():
    tasks = []

    async def start(grace_seconds=0.01, min_rate=1, budget=None):
        budget = budget or ByteBudget(MOST, patience_seconds=30)
        reservation = await budget.reserve(NOBODY, memory_for(0, MAX_BYTES), MOST)
        body = Body(budget, reservation, grace_seconds, min_rate)
        tasks.append(body.task)
        return body

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_memory_grows_with_what_came_and_never_beyond_what_may_come(new_body):
    body = await new_body()
    for came, held in ((10_000, 26_384), (80_000, 96_384), (99_000, MAX_BYTES)):
        await body.pieces.put(came - body.counted)
        await until(lambda came=came: body.counted == came)
        assert body.reservation.held_bytes == intakes.COPIES * held


async def test_a_body_that_is_behind_goes_on_while_nobody_waits(new_body):
    body = await new_body()
    await until(lambda: body.lags)
    await body.pieces.put(100)
    await body.pieces.put(0)
    await body.task


async def test_a_body_that_is_behind_is_cut_off_for_one_that_waits(new_body):
    body = await new_body()
    await until(lambda: body.lags)
    held = await body.budget.reserve(NOBODY, MOST)
    with pytest.raises(RequestTimeoutError, match="while others waited: 0 bytes"):
        await body.task
    held.release()


async def test_a_body_that_falls_behind_while_others_wait_is_cut_off(new_body):
    body = await new_body(grace_seconds=0.05)
    (await body.budget.reserve(NOBODY, MOST)).release()
    with pytest.raises(RequestTimeoutError):
        await body.task


async def test_enough_bytes_make_up_for_a_pause(new_body):
    body = await new_body(grace_seconds=0.3, min_rate=1000)
    await until(lambda: body.lags)
    await body.pieces.put(MAX_BYTES // 2)
    await until(lambda: not body.lags)
    # And the next pause is noticed again.
    await until(lambda: body.lags)


async def test_a_drip_does_not_make_up_for_it(new_body):
    body = await new_body(grace_seconds=0.05, min_rate=1_000_000)
    async with asyncio.timeout(10):
        while not body.lags:
            await body.pieces.put(1)
            await asyncio.sleep(0)
    await body.pieces.put(1)
    await until(body.pieces.empty)
    assert body.lags


async def test_while_there_is_no_memory_for_more_its_client_is_not_behind(new_body):
    budget = ByteBudget(2 * MOST, patience_seconds=30)
    rest = await budget.reserve("192.0.2.1", 2 * MOST - memory_for(0, MAX_BYTES))
    body = await new_body(grace_seconds=0.1, budget=budget)
    await body.pieces.put(50_000)
    await until(lambda: body.reservation.waits)
    looked = []
    asyncio.get_running_loop().call_later(0.3, looked.append, "after its grace")
    await until(lambda: looked)
    assert not body.lags
    released = asyncio.get_running_loop().time()
    rest.release()
    await until(lambda: body.counted)
    assert body.intake._deadline > released
    await body.pieces.put(0)
    await body.task


async def test_while_a_limit_holds_it_up_its_client_is_not_behind(new_body):
    body = await new_body(grace_seconds=0.1)
    body.allowed.clear()
    await body.pieces.put(10)
    looked = []
    asyncio.get_running_loop().call_later(0.3, looked.append, "after its grace")
    await until(lambda: looked)
    assert not body.lags
    body.allowed.set()
    await until(lambda: body.counted)
    await body.pieces.put(0)
    await body.task


async def test_complete_silence_ends_a_body_though_nobody_waits(new_body, monkeypatch):
    monkeypatch.setattr(intakes, "SILENCE_SECONDS", 0.05)
    body = await new_body()
    with pytest.raises(RequestTimeoutError, match="Nothing came"):
        await body.task
    assert body.budget._free_bytes == MOST


async def test_a_trickle_is_silence(new_body, monkeypatch):
    monkeypatch.setattr(intakes, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(intakes, "_TRICKLE_BYTES", 1_000)
    body = await new_body()

    async def drip(piece):
        while not body.task.done():
            await body.pieces.put(piece)
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip(1))
    with pytest.raises(RequestTimeoutError, match=r"Only \d+ bytes came of the body"):
        await body.task
    await dripping
    assert 0 < body.counted < 1_000
    assert body.budget._free_bytes == MOST


async def test_what_is_more_than_a_trickle_goes_on(new_body, monkeypatch):
    monkeypatch.setattr(intakes, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(intakes, "_TRICKLE_BYTES", 100)
    body = await new_body()
    started = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < started + 0.6:
        await body.pieces.put(100)
        await asyncio.sleep(0.01)
    await body.pieces.put(0)
    await body.task


def test_in_base64_a_budget_is_for_as_many_bytes_of_images_as_six_for_each_make():
    budget_bytes = 600_000
    assert within(budget_bytes, ValueEncoding.RAW) // COPIES == budget_bytes // 4
    assert within(budget_bytes, ValueEncoding.BASE64) // COPIES == budget_bytes // 6


def test_where_images_are_encrypted_one_copy_more_counts():
    budget_bytes = 600_000
    assert within(budget_bytes, ValueEncoding.RAW, sealed=True) // COPIES == budget_bytes // 5
    assert within(budget_bytes, ValueEncoding.BASE64, sealed=True) // COPIES == budget_bytes // 6
