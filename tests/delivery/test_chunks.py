"""Images of several records, straight from the log: no codec worker takes part."""

import asyncio
import dataclasses
import random

import pytest
import pytest_asyncio

from app.access.principal import ANYONE
from app.catalog.catalog import Catalog
from app.delivery.cache import RecordCache
from app.delivery.chunks import Chunks
from app.delivery.find import Finder
from app.feed.expiry import Expiry
from app.log import IMAGES
from app.log.sqlite.log import SqliteLog
from app.records import image as records
from app.records.address import Address
from app.records.image import UnfitRecordError
from app.records.value import ValueEncoding
from tests.support.credentials import RULE
from tests.support.facts import info
from tests.support.world import following

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("tiny_chunks")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    log, catalog = SqliteLog(folder, image_partitions=3), Catalog(folder / "catalog.db")
    await log.start()
    async with following(log, catalog) as feed:
        await feed.caught_up()
        cache = RecordCache(log, IMAGES, 0)
        yield log, Finder(log, cache, catalog, feed, Expiry(log, catalog), RULE), Chunks(cache)
    await log.stop()


async def append(log, length, size, encoding=ValueEncoding.RAW):
    data, cookie = random.Random(length).randbytes(length), bytes(range(12))
    chunks = list(records.encoded_chunks(cookie, memoryview(data), size, encoding))
    places = await log.append(IMAGES, chunks) if chunks else []
    described = info(content_length=length)
    view = memoryview(data)
    head = records.head_record(cookie, view, described, size, places, encoding=encoding)
    [position] = await log.append(IMAGES, [head])
    return data, str(Address(position, cookie)), places


@pytest.mark.parametrize(
    ("length", "size"), [(1, 1), (5, 10), (10, 10), (11, 10), (95, 10), (300_000, 100_000)]
)
@pytest.mark.parametrize("encoding", ValueEncoding)
async def test_every_range_is_cut_from_the_right_chunks(parts, length, size, encoding):
    log, finder, chunks = parts
    data, image_id, _ = await append(log, length, size, encoding)
    image = await finder.find(image_id, ANYONE)
    chance = random.Random(size)
    edges = {0, 1, size - 1, size, size + 1, length - 1, length}
    edges |= {chance.randrange(length) for _ in range(8)}
    edges = sorted(edge for edge in edges if 0 <= edge <= length)
    for start in edges:
        for end in (edge for edge in edges if edge > start):
            pieces = [piece async for piece in await chunks.open(image, start, end)]
            assert b"".join(pieces) == data[start:end]
            assert all(0 < len(piece) <= 65_536 for piece in pieces)


async def test_only_the_chunks_of_a_range_are_read_and_only_as_they_are_taken(parts, monkeypatch):
    log, finder, chunks = parts
    _, image_id, places = await append(log, 1000, 100)
    image = await finder.find(image_id, ANYONE)
    reads, read = [], log.read

    async def spy(topic, position):
        reads.append(position)
        return await read(topic, position)

    monkeypatch.setattr(log, "read", spy)
    stream = await chunks.open(image, 350, 750)
    assert reads == [places[2]]
    await anext(stream)
    assert reads == [places[2]]
    await anext(stream)
    assert reads == places[2:4]
    await stream.aclose()
    assert reads == places[2:4]


class HeldLog:
    """The log, where the reading of one record waits until it may go on."""

    def __init__(self, log, held):
        self.reads, self.begun, self.ended = [], asyncio.Event(), 0
        self.may_go_on = asyncio.Event()
        self._log, self._held = log, held

    async def read(self, topic, position):
        self.reads.append(position)
        if position == self._held:
            self.begun.set()
            try:
                await self.may_go_on.wait()
            finally:
                self.ended += 1
        return await self._log.read(topic, position)


async def begun(parts, held=1, length=500_000, size=100_000):
    """Take the first two pieces of an image; its chunk `held` is being read meanwhile."""
    log, finder, _ = parts
    data, image_id, places = await append(log, length, size)
    image = await finder.find(image_id, ANYONE)
    slow = HeldLog(log, places[held - 1])
    stream = await Chunks(RecordCache(slow, IMAGES, 0)).open(image, 0, length)
    pieces = [await anext(stream)]
    assert slow.reads == []
    pieces.append(await anext(stream))
    return slow, stream, pieces, data, places


async def test_the_next_chunk_is_read_while_one_is_sent_and_no_other(parts):
    slow, stream, pieces, data, places = await begun(parts)
    await asyncio.wait_for(slow.begun.wait(), 10)
    assert slow.reads == places[:1]
    slow.may_go_on.set()
    pieces += [piece async for piece in stream]
    assert b"".join(pieces) == data
    assert slow.reads == places


async def test_a_client_that_leaves_stops_the_reading_ahead(parts):
    slow, stream, *_ = await begun(parts)
    await asyncio.wait_for(slow.begun.wait(), 10)
    await stream.aclose()
    while not slow.ended:
        await asyncio.sleep(0)
    assert len(slow.reads) == 1


async def test_what_is_read_ahead_fails_only_when_it_is_its_turn(parts):
    slow, stream, pieces, data, _ = await begun(parts, length=500_001)
    slow._log = None
    slow.may_go_on.set()
    assert b"".join(pieces) == data[:100_000]
    with pytest.raises(AttributeError):
        await anext(stream)


async def test_a_chunk_of_another_image_is_never_served(parts):
    log, finder, chunks = parts
    _, image_id, _ = await append(log, 300, 100)
    _, _, others = await append(log, 400, 200)
    image = await finder.find(image_id, ANYONE)
    places = (image.head.chunks[0], others[0])
    mixed = dataclasses.replace(image, head=dataclasses.replace(image.head, chunks=places))
    with pytest.raises(UnfitRecordError, match="not its chunk 2"):
        [piece async for piece in await chunks.open(mixed, 0, 300)]
