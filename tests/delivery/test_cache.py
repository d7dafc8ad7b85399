"""The cache of records: bounded by bytes, least recently used first out."""

import pytest

from app.delivery.cache import _OVERHEAD_BYTES, RecordCache
from app.errors import RecordGoneError
from app.log import IMAGES, Fetched, Position, StoredRecord

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
    assert len(cache._records) == 5
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
    assert (len(cache._records), cache._bytes) == (4, 4 * SIZE)


async def test_without_memory_every_read_goes_to_the_log(log):
    cache = RecordCache(log, IMAGES, 0)
    await read(cache, 1, 1)
    assert log.reads == [1, 1]
    assert cache._bytes == 0


async def test_what_no_longer_belongs_is_read_again_and_takes_its_place(log):
    cache = RecordCache(log, IMAGES, 100 * SIZE)
    await read(cache, 1, 2)
    await cache.read(Position(0, 1), lambda _: False)
    assert log.reads == [1, 2, 1]
    assert (len(cache._records), cache._bytes) == (2, 2 * SIZE)
    await read(cache, 1)
    assert log.reads == [1, 2, 1]


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
