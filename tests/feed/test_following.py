"""The follower: every event is applied once, in order, and readers know how far it is."""

import asyncio

import pytest

from app.catalog.catalog import Catalog
from app.errors import NotReadyError
from app.events.event import encode
from app.log import EVENTS
from tests.support.facts import deleted, image_id, stored, watchdog
from tests.support.world import facts, listed


async def test_what_is_appended_is_applied_in_order(world):
    await world.append(stored(1), stored(2))
    feed, catalog = await world.follow()
    await world.append(deleted(1), stored(3))
    await feed.caught_up()
    assert await facts(catalog) == [
        (0, "image.stored", image_id(1)),
        (1, "image.stored", image_id(2)),
        (2, "image.deleted", image_id(1)),
        (3, "image.stored", image_id(3)),
    ]
    assert feed.sequence == 3
    assert feed.trouble is None


async def test_the_time_of_an_image_is_the_logs(world):
    [position] = await world.append(stored(1))
    _, catalog = await world.follow()
    record = (await world.log.read(EVENTS, position)).record
    assert (await catalog.image(image_id(1))).created_at_ms == record.timestamp_ms


async def test_where_nothing_is_to_be_applied_it_is_ready_at_once(world):
    await world.new_log("quiet", heartbeat_seconds=3600)
    feed, _ = await world.follow()
    feed.require_caught_up()
    assert feed.sequence == -1


async def test_before_every_event_is_applied_nothing_is_answered(world, monkeypatch):
    await world.append(stored(1))
    opened, apply = asyncio.Event(), Catalog.apply

    async def held(*arguments):
        await opened.wait()
        await apply(*arguments)

    monkeypatch.setattr(Catalog, "apply", held)
    feed, _ = await world.follow(caught_up=False)
    with pytest.raises(NotReadyError):
        feed.require_caught_up()
    assert feed.trouble
    assert not await feed.applied_within(0, 0.01)
    opened.set()
    assert await feed.applied_within(0, 10)
    feed.require_caught_up()


async def test_a_copy_of_an_event_is_applied_once(world):
    event = encode(stored(1))
    await world.append(event, event, stored(2), event)
    feed, catalog = await world.follow()
    assert await listed(catalog) == [2, 0]
    assert [sequence for sequence, *_ in await facts(catalog)] == [0, 2]
    assert feed.sequence == 3


async def test_a_deletion_that_comes_before_its_image_is_final(world):
    await world.append(deleted(1), stored(1))
    _, catalog = await world.follow()
    assert await listed(catalog) == []
    assert await catalog.is_deleted(image_id(1))


async def test_while_it_closes_the_last_uploads_are_still_applied(world):
    feed, catalog = await world.follow()
    feed.close_streams()
    with watchdog(10):
        [position] = await world.append(stored(1))
        assert await feed.applied_within(position.offset, 5)
    assert await listed(catalog) == [0]


async def test_a_standstill_is_reported(world):
    feed, _ = await world.follow()
    assert feed.trouble is None
    feed._moved_at -= 60
    assert "60 seconds" in feed.trouble
