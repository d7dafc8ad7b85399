"""`Log.tail`, `Log.bounds` and `Log.identity` on both engines."""

import asyncio

import pytest

from app.errors import RecordMissingError
from app.log import EVENTS, IMAGES, MAX_PARTITIONS, Bounds, Record
from tests.support.engines import take


class TestTail:
    async def test_it_starts_at_any_offset(self, engine, opened):
        log = await opened(engine)
        await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(10)])
        for start in (0, 4, 9):
            records = await take(log, 10 - start, start=start)
            assert [record.position.offset for record in records] == list(range(start, 10))
            assert [record.value for record in records] == [b"%d" % n for n in range(start, 10)]

    async def test_it_waits_at_the_end_and_says_that_it_is_alive(self, engine, opened):
        log = await opened(engine)
        await log.append(EVENTS, [Record(b"k", b"v")])
        tail = log.tail(EVENTS, 0, 1)
        async with asyncio.timeout(10):
            batch = await anext(tail)
        assert (batch.records, batch.next_offset, batch.end) == ((), 1, 1)
        await tail.aclose()

    async def test_it_sees_what_is_appended_meanwhile_in_order_and_once(self, engine, opened):
        log = await opened(engine)
        taking = asyncio.create_task(take(log, 300))
        for n in range(100):
            await log.append(EVENTS, [Record(b"k", b"%d" % (3 * n + m)) for m in range(3)])
        values = [record.value for record in await taking]
        assert values == [b"%d" % n for n in range(300)]

    async def test_it_goes_on_after_a_restart_where_it_stood(self, engine, opened):
        log = await opened(engine)
        await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(3)])
        before = await take(log, 3)
        await log.stop()
        again = await opened(engine)
        await again.append(EVENTS, [Record(b"k", b"3")])
        after = await take(again, 1, start=before[-1].position.offset + 1)
        assert [record.value for record in after] == [b"3"]

    async def test_large_records_come_in_batches_of_bounded_size(self, engine, opened):
        log = await opened(engine)
        size = log.max_record_bytes(EVENTS) * 3 // 4
        for n in range(6):
            await log.append(EVENTS, [Record(b"%d" % n, bytes(size))])
        largest = 0
        async with asyncio.timeout(30):
            async for batch in log.tail(EVENTS, 0, 0):
                largest = max(largest, sum(len(record.value) for record in batch.records))
                if batch.next_offset == 6:
                    break
        assert 0 < largest <= 2 * log.max_record_bytes(EVENTS)

    async def test_a_start_beyond_the_end_is_missing(self, engine, opened):
        log = await opened(engine)
        await log.append(EVENTS, [Record(b"k", b"v")])
        with pytest.raises(RecordMissingError):
            await anext(log.tail(EVENTS, 0, 3))

    async def test_several_tails_run_side_by_side(self, engine, opened):
        log = await opened(engine)
        taking = [asyncio.create_task(take(log, 50)) for _ in range(5)]
        await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(50)])
        for records in await asyncio.gather(*taking):
            assert [record.position.offset for record in records] == list(range(50))


class TestBoundsAndIdentity:
    async def test_a_partition_that_does_not_exist_has_no_bounds(self, engine, opened):
        log = await opened(engine)
        for partition in (log.partitions(IMAGES), MAX_PARTITIONS - 1):
            with pytest.raises(RecordMissingError):
                await log.bounds(IMAGES, partition)

    async def test_bounds_of_an_empty_and_of_a_growing_partition(self, real_engine, opened):
        log = await opened(real_engine)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 0)
        await log.append(EVENTS, [Record(b"k", b"v")] * 3)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 3)

    async def test_the_identity_stays_and_is_not_empty(self, engine, opened):
        log = await opened(engine)
        identity = log.identity
        await log.stop()
        assert (await opened(engine)).identity == identity != ""
