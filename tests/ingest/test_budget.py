"""The memory that an upload holds on its way in."""

import asyncio

import pytest

from app.errors import (
    BodyTooLargeError,
    InvalidImageError,
    NotReadyError,
    UnsupportedFormatError,
)
from app.ingest.intake import COPIES
from tests.support.facts import until
from tests.support.way_in import PNG, Client


async def test_memory_is_held_from_before_the_first_byte_until_it_is_in_the_log(way):
    client = Client(max_bytes=10_000)
    client.may.clear()
    way.pool.may.clear()
    way.faults.may.clear()
    storing = asyncio.create_task(way.ingest.store(client))
    await until(lambda: client.received)
    assert way.held_bytes == COPIES * 10_000
    client.may.set()
    await until(lambda: way.held_bytes == COPIES * len(PNG))
    way.pool.may.set()
    await until(lambda: way.faults.appended)
    assert way.held_bytes == COPIES * len(PNG)
    way.faults.may.set()
    await storing
    assert way.held_bytes == 0


async def test_an_announced_length_holds_no_more_than_a_silent_connection_may_cost(way):
    client = Client(max_bytes=20_000_000)
    client.may.clear()
    storing = asyncio.create_task(way.ingest.store(client))
    await until(lambda: client.received)
    # 2,000 of them fit into a quarter of the default budget.
    assert way.held_bytes == 65_536
    client.may.set()
    await storing
    assert way.held_bytes == 0


async def test_nothing_is_received_before_the_feed_has_caught_up(way):
    way.feed.distrust_catalog()
    client = Client()
    with pytest.raises(NotReadyError):
        await way.ingest.store(client)
    assert not client.received
    assert way.held_bytes == 0


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (Client(error=BodyTooLargeError("x")), BodyTooLargeError),
        (Client(b"no image"), UnsupportedFormatError),
    ],
)
async def test_a_refused_upload_frees_its_memory(way, client, error):
    with pytest.raises(error):
        await way.ingest.store(client)
    assert way.held_bytes == 0
    assert way.faults.appended == []


async def test_an_image_that_cannot_be_developed_frees_its_memory(way):
    way.pool.error = InvalidImageError("broken")
    with pytest.raises(InvalidImageError):
        await way.ingest.store(Client())
    assert way.held_bytes == 0
