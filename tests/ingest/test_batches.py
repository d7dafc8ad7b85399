"""Batches without HTTP: how much of one is in work, and what becomes of it when something fails."""

import asyncio
import gc

import pytest

from app.errors import BadRequestError, NotWrittenError, OutcomeUnknownError, OverloadedError
from app.imaging.formats import ACCEPTED
from app.imaging.profiles import Recipe
from app.ingest.batches import Batches
from app.ingest.intake import COPIES
from app.ingest.upload import StoredUpload, Upload
from app.log import EVENTS, IMAGES
from tests.support.facts import until
from tests.support.way_in import PNG, TOTAL


class Batch:
    """A `BatchSource` of so many images; `breaks_at` names the image at which it breaks off."""

    def __init__(self, count, data=PNG, breaks_at=None, breaks_with=None):
        self.client = "192.0.2.1"
        self.data, self.count, self.breaks_at = data, count, breaks_at
        self.breaks_with = breaks_with or BadRequestError("The form broke off.")
        self.broken = None
        self.begun = self.passed_over = 0
        self.gone = asyncio.Event()
        self.is_watched = False

    @property
    def has_begun(self):
        return self.begun > 0

    def may_have_more(self):
        return self.begun < self.count

    def next(self):
        return Image(self)

    async def pass_over(self, image):
        if not image.exists:
            image.exists = True
            self.begun += 1
        self.passed_over += 1

    async def finish(self):
        pass

    async def left(self):
        self.is_watched = True
        await self.gone.wait()
        raise ConnectionError("the client has left")


class Image:
    def __init__(self, batch):
        self.batch = batch
        self.client, self.owner, self.claim, self.token = batch.client, "", None, None
        self.formats, self.max_bytes = ACCEPTED, len(batch.data)
        self.received = asyncio.get_running_loop().create_future()
        self.exists = False

    async def receive(self, reservation):
        self.batch.begun += 1
        self.exists = True
        await reservation.grow(COPIES * len(self.batch.data))
        if self.batch.begun - 1 == self.batch.breaks_at:
            self.batch.broken = self.batch.breaks_with
            raise self.batch.broken
        self.received.set_result(len(self.batch.data))
        return Upload(self.batch.data, "a.png", Recipe())

    async def left(self):
        await asyncio.Event().wait()


def batches(way, workers=1):
    return Batches(way.ingest, way.log.append, way.budget, workers)


def kinds(stored):
    return [type(each) for each in stored.outcomes]


async def test_memory_is_that_of_the_images_in_work(way):
    # A share of all of it: three of four images of this size fit beside each other.
    data = PNG + bytes(TOTAL // COPIES // 3 - len(PNG))
    way.pool.may.clear()
    batch = Batch(7, data)
    storing = asyncio.create_task(batches(way).store(batch))
    await until(lambda: batch.begun == 3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert batch.begun == 3
    assert way.held_bytes <= TOTAL
    way.pool.may.set()
    assert kinds(await storing) == [StoredUpload] * 7
    assert way.held_bytes == 0


async def test_so_many_small_ones_are_in_work_that_no_worker_is_idle(way):
    way.pool.may.clear()
    batch = Batch(50)
    storing = asyncio.create_task(batches(way, workers=2).store(batch))
    await until(lambda: batch.begun == 16)
    for _ in range(20):
        await asyncio.sleep(0)
    assert batch.begun == 16
    way.pool.may.set()
    assert kinds(await storing) == [StoredUpload] * 50


async def test_while_others_hold_the_memory_images_are_refused_and_the_rest_goes_on(way):
    batch = Batch(3)
    all_of_it = await way.budget.reserve("192.0.2.2", TOTAL)
    with pytest.raises(OverloadedError):
        await batches(way).store(batch)
    assert not batch.has_begun
    all_of_it.release()

    store = way.ingest.store

    async def taken(image, place):
        if batch.begun == 1:
            others = await way.budget.reserve("192.0.2.2", way.budget.free_bytes)
            try:
                return await store(image, place)
            finally:
                others.release()
        return await store(image, place)

    way.ingest.store = taken
    stored = await asyncio.wait_for(batches(way).store(batch), 10)
    assert kinds(stored) == [StoredUpload, OverloadedError, StoredUpload]
    assert batch.passed_over == 1
    assert way.held_bytes == 0


@pytest.mark.parametrize("topic", [IMAGES, EVENTS])
async def test_an_append_that_is_not_acknowledged_is_the_outcome_of_its_images_alone(way, topic):
    settled = asyncio.get_running_loop().create_future()
    way.faults.errors[topic] = [OutcomeUnknownError("Lost.", (), settled)]
    stored = await batches(way).store(Batch(30))
    unknown = kinds(stored).count(OutcomeUnknownError)
    assert 1 <= unknown < 30
    assert kinds(stored).count(StoredUpload) == 30 - unknown
    # The log may hold the bytes still.
    assert way.held_bytes == unknown * COPIES * len(PNG)
    settled.set_result(None)
    await asyncio.sleep(0)
    assert way.held_bytes == 0


async def test_an_append_that_is_refused_is_a_503_of_its_images_alone(way):
    way.faults.errors[IMAGES] = [NotWrittenError("The broker is away.")]
    stored = await batches(way).store(Batch(30))
    refused = kinds(stored).count(NotWrittenError)
    assert 1 <= refused < 30
    assert len(await way.listed()) == 30 - refused


async def test_images_before_the_place_where_a_form_breaks_off_are_stored(way):
    stored = await batches(way).store(Batch(9, breaks_at=5))
    assert kinds(stored) == [StoredUpload] * 5 + [BadRequestError]
    assert stored.broken is stored.outcomes[-1]
    assert len(await way.listed()) == 5


async def test_a_client_that_leaves_ends_the_work_and_what_is_being_published_is_stored(way):
    way.faults.may.clear()
    batch = Batch(3)
    storing = asyncio.create_task(batches(way).store(batch))
    await until(lambda: way.faults.appended)
    batch.gone.set()
    with pytest.raises(ConnectionError):
        await storing
    way.faults.may.set()
    await way.publisher.drain()
    assert way.held_bytes == 0
    assert 1 <= len(await way.listed()) <= 3


async def test_a_client_that_leaves_while_images_are_developed_has_stored_nothing(way):
    way.pool.may.clear()
    batch = Batch(3)
    storing = asyncio.create_task(batches(way).store(batch))
    await until(lambda: batch.begun == 3)
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert way.held_bytes == 0
    assert way.faults.appended == []


async def test_a_client_that_leaves_at_its_end_leaves_no_complaint_behind(way):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    way.pool.may.clear()
    batch = Batch(3)
    storing = asyncio.create_task(batches(way).store(batch))
    await until(lambda: batch.is_watched)
    batch.gone.set()
    await asyncio.wait({storing})
    assert isinstance(storing.exception(), ConnectionError)
    del storing
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


async def test_a_client_that_leaves_in_the_middle_ends_the_work_on_what_it_sent(way):
    way.pool.may.clear()
    batch = Batch(3, breaks_at=2, breaks_with=ConnectionError("the client has left"))
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(batches(way).store(batch), 5)
    assert way.held_bytes == 0
    assert way.faults.appended == []


async def test_heads_and_events_share_appends(way):
    await batches(way, workers=4).store(Batch(30))
    for topic in (IMAGES, EVENTS):
        counts = [count for each, count in way.faults.appended if each == topic]
        assert sum(counts) == 30
        assert len(counts) < 30
