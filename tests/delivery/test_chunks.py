"""Images of several records, straight from the log: no codec worker takes part."""

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


async def test_a_chunk_of_another_image_is_never_served(parts):
    log, finder, chunks = parts
    _, image_id, _ = await append(log, 300, 100)
    _, _, others = await append(log, 400, 200)
    image = await finder.find(image_id, ANYONE)
    places = (image.head.chunks[0], others[0])
    mixed = dataclasses.replace(image, head=dataclasses.replace(image.head, chunks=places))
    with pytest.raises(UnfitRecordError, match="not its chunk 2"):
        [piece async for piece in await chunks.open(mixed, 0, 300)]
