"""`Log.append` and `Log.read` on both engines."""

import asyncio
import random
import time
from collections import Counter

import pytest

from app.errors import RecordMissingError
from app.log import EVENTS, IMAGES, Bounds, Position, Record
from tests.support.engines import PARTITIONS


class TestAppend:
    async def test_it_returns_where_each_record_can_be_read(self, engine, opened):
        log = await opened(engine)
        records = [Record(b"k%d" % n, b"v%d" % n) for n in range(20)]
        positions = await log.append(IMAGES, records)
        assert len(set(positions)) == 20
        for record, position in zip(records, positions, strict=True):
            stored = (await log.read(IMAGES, position)).record
            assert (stored.position, stored.key, stored.value) == (
                position,
                record.key,
                record.value,
            )

    async def test_offsets_of_a_fresh_partition_start_at_zero_and_follow_the_order(
        self, engine, opened
    ):
        log = await opened(engine)
        positions = await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(5)])
        assert positions == [Position(0, n) for n in range(5)]

    async def test_what_is_acknowledged_is_there_after_a_restart(self, engine, opened):
        log = await opened(engine)
        [position] = await log.append(IMAGES, [Record(b"key", b"value")])
        await log.stop()
        again = await opened(engine)
        assert (await again.read(IMAGES, position)).record.value == b"value"

    async def test_a_record_of_no_bytes_and_one_of_the_limit(self, real_engine, opened):
        log = await opened(real_engine)
        limit = log.max_record_bytes(IMAGES)
        room = limit - Record(b"k", b"", (("h", b"x"),)).size_bytes
        largest = random.randbytes(room)
        positions = await log.append(
            IMAGES, [Record(b"k", b""), Record(b"k", largest, (("h", b"x"),))]
        )
        assert (await log.read(IMAGES, positions[0])).record.value == b""
        assert (await log.read(IMAGES, positions[1])).record.value == largest

    async def test_a_record_over_the_limit_is_refused_and_nothing_is_written(self, engine, opened):
        log = await opened(engine)
        large = Record(b"k", bytes(log.max_record_bytes(EVENTS)))
        with pytest.raises(ValueError, match="limit"):
            await log.append(EVENTS, [Record(b"k", b"small"), large])
        assert await log.bounds(EVENTS, 0) == Bounds(0, 0)

    async def test_keys_values_and_headers_are_kept_exactly(self, engine, opened):
        log = await opened(engine)
        headers = (("a", b""), ("a", b"\x00\xff" * 100), ("ü", "ö".encode()), ("b", b"1"))
        record = Record(b"\x00key\xff", bytes(range(256)), headers)
        [position] = await log.append(IMAGES, [record])
        stored = (await log.read(IMAGES, position)).record
        assert (stored.key, stored.value, stored.headers) == (record.key, record.value, headers)
        assert stored.header("a") == b"\x00\xff" * 100
        assert abs(stored.timestamp_ms - time.time() * 1000) < 60_000

    async def test_a_value_may_be_a_view_of_a_larger_buffer(self, engine, opened):
        log = await opened(engine)
        buffer = random.randbytes(300_000)
        [position] = await log.append(IMAGES, [Record(b"k", memoryview(buffer)[1000:250_000])])
        assert (await log.read(IMAGES, position)).record.value == buffer[1000:250_000]

    async def test_records_go_where_they_are_sent_or_are_spread_by_key(self, engine, opened):
        log = await opened(engine)
        assert log.partitions(IMAGES) == PARTITIONS
        sent = await log.append(IMAGES, [Record(b"k", b"v", partition=n) for n in range(3)])
        assert [position.partition for position in sent] == [0, 1, 2]
        records = [Record(b"key-%d" % n, b"v") for n in range(100)]
        spread = await asyncio.gather(*(log.append(IMAGES, [record]) for record in records))
        assert set(Counter(position.partition for [position] in spread)) == {0, 1, 2}

    async def test_many_appenders_at_once_get_positions_of_their_own(self, engine, opened):
        log = await opened(engine)
        values = {n: random.randbytes(random.randrange(20_000)) for n in range(200)}

        async def append(n):
            [position] = await log.append(IMAGES, [Record(b"%d" % n, values[n])])
            return n, position

        appended = await asyncio.gather(*(append(n) for n in values))
        assert len({position for _, position in appended}) == 200
        for n, position in appended:
            assert (await log.read(IMAGES, position)).record.value == values[n]


class TestRead:
    async def test_an_offset_beyond_the_end_is_missing(self, engine, opened):
        log = await opened(engine)
        await log.append(EVENTS, [Record(b"k", b"v")])
        for offset in (1, 2, 5000, 2**47):
            with pytest.raises(RecordMissingError):
                await log.read(EVENTS, Position(0, offset))

    async def test_a_partition_that_does_not_exist_is_missing(self, engine, opened):
        log = await opened(engine)
        for partition in (PARTITIONS, 65_535):
            with pytest.raises(RecordMissingError):
                await log.read(IMAGES, Position(partition, 0))
