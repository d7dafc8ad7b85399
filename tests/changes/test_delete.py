"""The deletion of an image whose record, catalog or feed is in trouble."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.access.principal import ANYONE, Principal
from app.access.scopes import Scope
from app.catalog.catalog import Catalog
from app.changes.delete import Deleter
from app.delivery.cache import RecordCache
from app.delivery.find import Finder
from app.errors import ImageGoneError, OutcomeUnknownError, RecordDamagedError
from app.events.event import ImageStored, encode
from app.feed.expiry import Expiry
from app.log import EVENTS, IMAGES
from app.log.sqlite.log import SqliteLog
from app.records.address import Address
from app.records.image import head_record
from tests.support.credentials import RULE
from tests.support.facts import image_id, info
from tests.support.world import following

COOKIE = bytes(range(12))


class Stored:
    """An image in a log, and the parts that find and delete it."""

    def __init__(self, log, catalog, feed, address):
        self.log, self.catalog, self.feed, self.id = log, catalog, feed, address
        cache = RecordCache(log, IMAGES, 0)
        self.finder = Finder(log, cache, catalog, feed, Expiry(log, catalog), RULE)

    def deleter(self, **options):
        return Deleter(self.log, self.finder, self.catalog, self.feed, **options)


@pytest.fixture
async def image(tmp_path):
    async with AsyncExitStack() as stack:
        log, catalog = SqliteLog(tmp_path / "log"), Catalog(tmp_path / "catalog.db")
        await log.start()
        stack.push_async_callback(log.stop)
        feed = await stack.enter_async_context(following(log, catalog))
        head = head_record(COOKIE, memoryview(b"picture"), info(content_length=7), 100, ())
        [position] = await log.append(IMAGES, [head])
        address = str(Address(position, COOKIE))
        await log.append(EVENTS, [encode(ImageStored(address, info()))])
        await feed.caught_up()
        yield Stored(log, catalog, feed, address)


async def test_a_deletion_that_is_not_applied_in_time_is_unknown_and_then_in_force(
    image, monkeypatch
):
    apply, may = image.catalog.apply, asyncio.Event()

    async def lag(*arguments):
        await may.wait()
        await apply(*arguments)

    monkeypatch.setattr(image.catalog, "apply", lag)
    with pytest.raises(OutcomeUnknownError, match="stored"):
        await image.deleter(apply_seconds=0.01).delete(image.id, ANYONE)
    may.set()
    await image.feed.caught_up()
    with pytest.raises(ImageGoneError):
        await image.finder.find(image.id, ANYONE)


async def test_a_listed_image_whose_record_is_damaged_can_be_deleted(image, monkeypatch):
    monkeypatch.setattr(image.finder, "find_own", damaged)
    await image.deleter().delete(image.id, ANYONE)
    assert await image.catalog.is_deleted(image.id)


async def test_an_id_of_a_damaged_record_that_is_not_listed_may_be_guessed_and_deletes_nothing(
    image, monkeypatch
):
    monkeypatch.setattr(image.finder, "find_own", damaged)
    with pytest.raises(RecordDamagedError):
        await image.deleter().delete(image_id(7), ANYONE)
    assert (await image.log.bounds(EVENTS, 0)).end == 1


async def test_an_image_of_another_whose_record_is_damaged_is_not_deleted(image, monkeypatch):
    monkeypatch.setattr(image.finder, "find_own", damaged)
    with pytest.raises(RecordDamagedError):
        await image.deleter().delete(image.id, Principal("key:1", frozenset({Scope.DELETE})))
    assert not await image.catalog.is_deleted(image.id)


async def damaged(_image_id, _owner):
    raise RecordDamagedError("It is damaged.", 0)
