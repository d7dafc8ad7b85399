"""Chunked images that lose a part to retention: a 410 before the first byte, and few questions."""

import random

import pytest

from app.log import IMAGES, Record
from app.records import image as records
from app.records.address import Address
from tests.support.facts import info
from tests.support.in_process import in_process, problem

pytestmark = pytest.mark.usefixtures("tiny_chunks")

SIZE = 70_000
DATA = random.Random(5).randbytes(4 * SIZE)
COOKIE = bytes(range(12))


class Stored:
    """A gateway with a chunked image, whose second and third chunk are in partitions 1 and 2."""

    def __init__(self, client, url):
        self.client, self.url = client, url
        self.log, self.expiry = client.gateway.log, client.gateway.finder._expiry
        self.asked = []

    async def lose(self, partition):
        """Have the log lose what is in a partition."""
        end = (await self.log.bounds(IMAGES, partition)).end
        await self.log.trim(IMAGES, partition, end)
        self.asked.clear()

    async def ask(self, method="GET", **headers):
        return await self.client.request(method, self.url, headers=headers)


@pytest.fixture
def cache_bytes():
    return 10_000_000


@pytest.fixture
async def stored(tmp_path, monkeypatch, cache_bytes):
    async with in_process(tmp_path, delivery={"cache_bytes": cache_bytes}) as client:
        log = client.gateway.log
        # Nothing is learned but when a test says so.
        await client.gateway.finder._expiry.stop()
        chunks = records.chunk_records(COOKIE, memoryview(DATA), SIZE)
        placed = [
            Record(each.key, each.value, each.headers, partition)
            for each, partition in zip(chunks, (3, 1, 2), strict=True)
        ]
        places = await log.append(IMAGES, placed)
        described = info(content_length=len(DATA))
        head = records.head_record(COOKIE, memoryview(DATA), described, SIZE, places)
        placed = Record(head.key, head.value, head.headers, 0)
        [position] = await log.append(IMAGES, [placed])
        found = Stored(client, f"/images/{Address(position, COOKIE)}")
        bounds = log.bounds

        async def asked(topic, partition):
            found.asked.append((topic, partition))
            return await bounds(topic, partition)

        monkeypatch.setattr(log, "bounds", asked)
        yield found


ANSWERS = [
    ("GET", {}, 200),
    ("HEAD", {}, 200),
    ("GET", {"if-none-match": "*"}, 304),
    ("GET", {"range": "bytes=150000-150099"}, 206),
    ("GET", {"range": "bytes=10-250000"}, 206),
]


async def test_a_cached_image_asks_no_broker(stored):
    assert (await stored.ask()).content == DATA
    await stored.expiry.compare()
    stored.asked.clear()
    for method, headers, status in ANSWERS:
        assert (await stored.ask(method, **headers)).status_code == status
    assert not stored.asked


async def test_one_that_lost_a_chunk_is_gone_once_that_is_known(stored):
    assert (await stored.ask()).content == DATA
    await stored.lose(2)
    await stored.expiry.compare()
    stored.asked.clear()
    for method, headers, _ in ANSWERS:
        assert (await stored.ask(method, **headers)).status_code == 410
    assert not stored.asked


async def test_one_that_lost_its_head_is_gone_once_that_is_known(stored):
    assert (await stored.ask()).content == DATA
    await stored.lose(0)
    await stored.expiry.compare()
    problem(await stored.ask(), 410, "image-gone")


async def test_what_is_not_in_memory_is_never_begun_in_vain(stored):
    """The head is cached alone, and a chunk leaves behind the back of what is known."""
    assert (await stored.ask("HEAD")).status_code == 200
    await stored.expiry.compare()
    await stored.lose(2)
    assert (await stored.ask("HEAD")).status_code == 200
    problem(await stored.ask(), 410, "image-gone")
    problem(await stored.ask(range="bytes=10-250000"), 410, "image-gone")
    problem(await stored.ask(range="bytes=210000-210010"), 410, "image-gone")


async def test_what_was_known_counts_for_ten_seconds(stored):
    assert (await stored.ask()).content == DATA
    await stored.expiry.compare()
    await stored.lose(2)
    assert (await stored.ask()).content == DATA
    clock = stored.expiry._clock
    stored.expiry._clock = lambda: clock() + 10
    problem(await stored.ask(), 410, "image-gone")


@pytest.mark.parametrize("cache_bytes", [0])
async def test_without_a_cache_it_is_gone_at_once(stored):
    await stored.expiry.compare()
    await stored.lose(2)
    for method, headers, _ in ANSWERS:
        assert (await stored.ask(method, **headers)).status_code == 410
