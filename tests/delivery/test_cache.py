"""The cache of records: bounded by bytes, least recently used first out."""

import asyncio

import pytest

from app.delivery.cache import _OVERHEAD_BYTES, RecordCache
from app.errors import RecordGoneError
from app.log import IMAGES, Fetched, Position, StoredRecord
from app.records.image import head_record, parse_head
from tests.support.facts import info

SIZE = 10 + _OVERHEAD_BYTES


def record(offset):
    return StoredRecord(Position(0, offset), b"key", bytes(7), (), 0)


class CountingLog:
    """Answers with a record of ten bytes and its neighbours, and counts the reads."""

    def __init__(self):
        self.reads = []
        self.neighbours = {}
        self.gone = set()

    async def read(self, topic, position):
        assert topic == IMAGES
        self.reads.append(position.offset)
        if position.offset in self.gone:
            raise RecordGoneError("gone")
        return Fetched(record(position.offset), self.neighbours.get(position.offset, ()))


@pytest.fixture
def log():
    return CountingLog()


async def read(cache, *offsets):
    for offset in offsets:
        assert (await cache.read(Position(0, offset), bool)).position.offset == offset


async def test_a_record_is_read_from_the_log_once(log):
    await read(RecordCache(log, IMAGES, 10 * SIZE), 1, 1, 2, 1)
    assert log.reads == [1, 2]


async def test_the_least_recently_used_record_leaves_first(log):
    cache = RecordCache(log, IMAGES, 3 * SIZE)
    await read(cache, 1, 2, 3, 1, 4)
    await read(cache, 1, 3, 4)
    assert log.reads == [1, 2, 3, 4]
    await read(cache, 2)
    assert log.reads == [1, 2, 3, 4, 2]


async def test_never_more_than_its_bytes_are_cached(log):
    cache = RecordCache(log, IMAGES, 5 * SIZE + 5)
    await read(cache, *range(100))
    assert len(cache._cached) == 5
    assert cache._bytes == 5 * SIZE


async def test_neighbours_are_cached_but_leave_before_the_record_requested(log):
    log.neighbours = {5: tuple(record(offset) for offset in (3, 4, 6))}
    cache = RecordCache(log, IMAGES, 2 * SIZE)
    await read(cache, 5, 6, 5)
    assert log.reads == [5]
    await read(cache, 3)
    assert log.reads == [5, 3]


async def test_neighbours_that_come_twice_count_once(log):
    log.neighbours = {1: (record(1), record(2)), 3: (record(2), record(4))}
    cache = RecordCache(log, IMAGES, 100 * SIZE)
    await read(cache, 1, 3)
    assert (len(cache._cached), cache._bytes) == (4, 4 * SIZE)


async def test_without_memory_every_read_goes_to_the_log(log):
    cache = RecordCache(log, IMAGES, 0)
    await read(cache, 1, 1)
    assert log.reads == [1, 1]
    assert cache._bytes == 0


async def test_what_no_longer_belongs_is_read_again_soon_and_takes_its_place(log):
    # When 1 and 2 are read, and when another record is asked for in the place of 1.
    times = iter((0.0, 0.0, 0.9, 1.0, 1.0, 1.9, 2.0, 2.0))
    cache = RecordCache(log, IMAGES, 100 * SIZE, lambda: next(times))
    await read(cache, 1, 2)
    for _ in range(4):
        await cache.read(Position(0, 1), lambda _: False)
    assert log.reads == [1, 2, 1, 1]
    assert (len(cache._cached), cache._bytes) == (2, 2 * SIZE)
    await read(cache, 1)
    assert log.reads == [1, 2, 1, 1]


async def test_what_cannot_be_read_is_not_remembered(log):
    log.gone.add(1)
    cache = RecordCache(log, IMAGES, 100)
    for _ in range(2):
        with pytest.raises(RecordGoneError):
            await cache.read(Position(0, 1), bool)
    log.gone.clear()
    await read(cache, 1)
    assert log.reads == [1, 1, 1]


async def test_headers_and_key_count_as_memory(log):
    cache = RecordCache(log, IMAGES, 1000)
    headers = (("name", b"value"), ("none", None))
    heavy = StoredRecord(Position(0, 1), b"k" * 7, None, headers, 0)
    cache._add(Fetched(heavy))
    assert cache._bytes == _OVERHEAD_BYTES + 7 + 9 + 4


class SlowLog(CountingLog):
    """Answers once it may."""

    def __init__(self):
        super().__init__()
        self.may_answer = asyncio.Event()
        self.cancelled = 0

    async def read(self, topic, position):
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().read(topic, position)


async def begun(cache):
    task = asyncio.create_task(cache.read(Position(0, 1), bool))
    await asyncio.sleep(0)
    return task


async def test_what_many_read_at_once_is_read_once_also_without_a_cache():
    log = SlowLog()
    cache = RecordCache(log, IMAGES, 0)
    tasks = [await begun(cache) for _ in range(3)]
    log.may_answer.set()
    first, *others = await asyncio.gather(*tasks)
    assert log.reads == [1]
    assert all(each is first for each in others)
    await read(cache, 1)
    assert log.reads == [1, 1]


async def test_an_error_reaches_all_who_wait_and_nobody_later():
    log = SlowLog()
    cache = RecordCache(log, IMAGES, 0)
    log.gone.add(1)
    tasks = [await begun(cache) for _ in range(2)]
    log.may_answer.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in errors] == [RecordGoneError] * 2
    log.gone.clear()
    await read(cache, 1)
    assert log.reads == [1, 1]


async def test_who_leaves_ends_nobodys_reading_and_the_last_one_ends_it():
    log = SlowLog()
    cache = RecordCache(log, IMAGES, 0)
    first, second, third = [await begun(cache) for _ in range(3)]
    for each in (first, second):
        each.cancel()
    await asyncio.wait({first, second})
    assert not log.cancelled
    third.cancel()
    await asyncio.wait({third})
    await asyncio.sleep(0)
    assert log.cancelled == 1
    log.may_answer.set()
    await read(cache, 1)


def head_at(offset, chunks=0):
    places = [Position(0, number) for number in range(chunks)]
    described = info(content_length=100 * (chunks + 1))
    head = head_record(bytes(12), memoryview(bytes(100 * (chunks + 1))), described, 100, places)
    return StoredRecord(Position(0, offset), head.key, bytes(head.value), head.headers, 0)


@pytest.mark.usefixtures("tiny_chunks")
class TestHeads:
    async def test_a_head_is_parsed_once_while_its_record_is_cached(self, monkeypatch):
        parsed = []

        def spy(record):
            parsed.append(record.position.offset)
            return parse_head(record)

        monkeypatch.setattr("app.delivery.cache.parse_head", spy)
        cache, (one, other) = RecordCache(None, IMAGES, 10_000), (head_at(1), head_at(2))
        cache._add(Fetched(one, (other,)))
        heads = [cache.head(each) for each in (one, other, one, other)]
        assert heads == [parse_head(each) for each in (one, other, one, other)]
        assert parsed == [1, 2]
        # Another record at its place, and one that is not cached.
        cache._add(Fetched(head_at(1, chunks=2)))
        assert cache.head(one).chunks == ()
        assert len(cache.head(cache._cached[one.position].record).chunks) == 2
        assert parsed == [1, 2, 1, 1]

    async def test_a_parsed_head_counts_as_memory(self):
        cache = RecordCache(None, IMAGES, 100_000)
        record = head_at(1, chunks=300)
        cache._add(Fetched(record))
        before = cache._bytes
        assert len(cache.head(record).chunks) == 300
        assert cache._bytes > before + 300 * 80
        for offset in range(2, 200):
            cache._add(Fetched(head_at(offset, chunks=300)))
            cache.head(cache._cached[Position(0, offset)].record)
            assert cache._bytes <= 100_000
            assert cache._bytes == sum(each.size_bytes for each in cache._cached.values())
