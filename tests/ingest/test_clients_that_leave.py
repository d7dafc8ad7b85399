"""Clients that leave: whether their image is stored, and when its memory is free again."""

import asyncio

import pytest

from app.client import NOBODY
from app.errors import NotWrittenError
from app.ingest.intake import COPIES
from app.ingest.publish import Publisher
from app.log import IMAGES
from tests.support.facts import info, until
from tests.support.way_in import PNG, Client


async def test_while_it_sends_nothing_is_stored(way):
    client = Client()
    client.may.clear()
    storing = asyncio.create_task(way.ingest.store(client))
    await until(lambda: client.received)
    await cancel(storing)
    assert way.held_bytes == 0
    assert way.faults.appended == []


async def test_while_its_image_is_developed_nothing_is_stored(way):
    way.pool.may.clear()
    storing = asyncio.create_task(way.ingest.store(Client()))
    await until(lambda: way.held_bytes == COPIES * len(PNG))
    await cancel(storing)
    assert way.held_bytes == 0
    assert way.faults.appended == []


async def test_while_its_image_is_published_it_is_stored_and_only_then_memory_is_free(way):
    way.faults.may.clear()
    storing = asyncio.create_task(way.ingest.store(Client()))
    await until(lambda: way.faults.appended)
    await cancel(storing)
    assert way.held_bytes == COPIES * len(PNG)
    draining = asyncio.create_task(way.publisher.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    way.faults.may.set()
    await draining
    assert way.held_bytes == 0
    assert len(await way.listed()) == 1


async def test_before_a_failure_leaves_no_complaint_behind(way, recwarn):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    way.faults.errors[IMAGES] = [NotWrittenError("The broker is away.")]
    way.faults.may.clear()
    storing = asyncio.create_task(way.ingest.store(Client()))
    await until(lambda: way.faults.appended)
    await cancel(storing)
    way.faults.may.set()
    await way.publisher.drain()
    assert way.held_bytes == 0
    assert complaints == []


async def test_draining_gives_up_on_a_log_that_never_answers(way):
    way.faults.may.clear()
    publisher, reservation = (
        Publisher(way.log, way.claims, way.once, drain_seconds=0.01),
        await way.budget.reserve(NOBODY, 1),
    )
    publishing = asyncio.create_task(publisher.publish(PNG, info(), reservation))
    await until(lambda: way.faults.appended)
    await asyncio.wait_for(publisher.drain(), 5)
    assert not publishing.done()
    way.faults.may.set()
    await publishing


async def test_a_client_that_leaves_while_its_image_is_developed_ends_the_work(way):
    way.pool.may.clear()
    client = Client()
    storing = asyncio.create_task(way.ingest.store(client))
    while not client.received:
        await asyncio.sleep(0)
    client.gone.set()
    with pytest.raises(ConnectionError):
        await storing
    assert way.held_bytes == 0


async def cancel(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
