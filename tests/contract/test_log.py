"""What a log promises, asked of both engines; `app.log.Log` says it in words."""

import asyncio
import random
import time
from collections import Counter

import pytest

from app.errors import (
    LogUnavailableError,
    NotWrittenError,
    OutcomeUnknownError,
    RecordGoneError,
    RecordMissingError,
)
from app.log import EVENTS, IMAGES, Bounds, Position, Record
from tests.contract.conftest import PARTITIONS, until


async def take(log, count, topic=EVENTS, partition=0, start=0):
    """Read so many records from a tail, with what its batches said of the next offset."""
    records = []
    tail = log.tail(topic, partition, start)
    async with asyncio.timeout(30):
        async for batch in tail:
            assert all(record.position.offset < batch.next_offset for record in batch.records)
            records += batch.records
            if len(records) >= count:
                break
    await tail.aclose()
    return records


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
        spread = await log.append(IMAGES, [Record(b"key-%d" % n, b"v") for n in range(100)])
        assert set(Counter(position.partition for position in spread)) == {0, 1, 2}

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

    async def test_an_erased_record_is_gone_and_its_neighbours_are_not(self, real_engine, opened):
        log = await opened(real_engine)
        topic = await real_engine.erasable(log)
        records = [Record(b"key-%d" % n, b"value-%d" % n, partition=0) for n in range(3)]
        positions = await log.append(topic, records)
        await log.erase(topic, [positions[1]])

        async def erased():
            await real_engine.pass_time(log, topic)
            try:
                await log.read(topic, positions[1])
            except RecordGoneError:
                return True
            await asyncio.sleep(0.5)
            return False

        await until(erased, timeout_seconds=60)
        assert (await log.read(topic, positions[0])).record.value == b"value-0"
        assert (await log.read(topic, positions[2])).record.value == b"value-2"

    async def test_a_trimmed_record_is_gone_and_its_offset_is_not_used_again(
        self, real_engine, opened
    ):
        log = await opened(real_engine)
        positions = await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(4)])
        await log.trim(EVENTS, 0, 3)
        await log.trim(EVENTS, 0, 3)
        assert await log.bounds(EVENTS, 0) == Bounds(3, 4)
        for position in positions[:3]:
            with pytest.raises(RecordGoneError):
                await log.read(EVENTS, position)
        assert (await log.read(EVENTS, positions[3])).record.value == b"3"
        await log.trim(EVENTS, 0, 4)
        assert await log.append(EVENTS, [Record(b"k", b"next")]) == [Position(0, 4)]

    async def test_trimming_beyond_the_end_is_refused(self, real_engine, opened):
        log = await opened(real_engine)
        await log.append(EVENTS, [Record(b"k", b"v")])
        with pytest.raises(ValueError, match=r".+"):
            await log.trim(EVENTS, 0, 7)


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

    async def test_a_start_below_the_first_offset_is_gone(self, real_engine, opened):
        log = await opened(real_engine)
        await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(3)])
        await log.trim(EVENTS, 0, 2)
        with pytest.raises(RecordGoneError):
            await anext(log.tail(EVENTS, 0, 1))

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


class TestBoundsAndCursors:
    async def test_bounds_of_an_empty_and_of_a_growing_partition(self, real_engine, opened):
        log = await opened(real_engine)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 0)
        await log.append(EVENTS, [Record(b"k", b"v")] * 3)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 3)

    async def test_cursors_are_kept_by_name_across_a_restart(self, engine, opened):
        log = await opened(engine)
        assert await log.committed("exporter", IMAGES, 1) is None
        await log.commit("exporter", IMAGES, 1, 7)
        await log.commit("exporter", IMAGES, 1, 5)
        await log.commit("other", IMAGES, 1, 9)
        await log.stop()
        again = await opened(engine)
        assert await again.committed("exporter", IMAGES, 1) == 5
        assert await again.committed("other", IMAGES, 1) == 9
        assert await again.committed("exporter", IMAGES, 2) is None

    async def test_the_identity_stays_and_is_not_empty(self, engine, opened):
        log = await opened(engine)
        identity = log.identity
        await log.stop()
        assert (await opened(engine)).identity == identity != ""


class TestClosed:
    async def test_a_closed_log_writes_nothing_and_answers_nothing(self, engine, opened):
        log = await opened(engine)
        await log.append(EVENTS, [Record(b"k", b"v")])
        await log.stop()
        await log.stop()
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", b"v")])
        with pytest.raises(LogUnavailableError):
            await log.read(EVENTS, Position(0, 0))
        with pytest.raises(LogUnavailableError):
            await log.bounds(EVENTS, 0)
        with pytest.raises(LogUnavailableError):
            await anext(log.tail(EVENTS, 0, 0))
        assert await (await opened(engine)).bounds(EVENTS, 0) == Bounds(0, 1)

    async def test_stopping_finishes_what_is_under_way(self, engine, opened):
        log = await opened(engine)
        # Who has never written waits for its way to the log first, and is not under way.
        await log.append(IMAGES, [Record(b"k", b"v", partition=n) for n in range(PARTITIONS)])
        appending = [
            asyncio.create_task(log.append(IMAGES, [Record(b"%d" % n, bytes(50_000))]))
            for n in range(40)
        ]
        await asyncio.sleep(0)
        await log.stop()
        results = await asyncio.gather(*appending, return_exceptions=True)
        again = await opened(engine)
        assert any(isinstance(result, list) for result in results)
        for result in results:
            if isinstance(result, NotWrittenError):
                continue
            assert not isinstance(result, BaseException), repr(result)
            assert len((await again.read(IMAGES, result[0])).record.value) == 50_000


class TestDeadline:
    async def test_unknown_and_not_written_are_told_apart(self, real_engine, opened):
        """What is handed over to an engine that hangs is unknown; what waits behind it is not."""
        log = await opened(real_engine, append_timeout_seconds=1.5)
        await log.append(IMAGES, [Record(b"k", b"first", partition=0)])
        await real_engine.stall(log)
        large = bytes(log.max_record_bytes(IMAGES) * 3 // 4)
        appending = []
        for n in range(8):
            record = Record(b"%d" % n, large, partition=0)
            appending.append(asyncio.create_task(log.append(IMAGES, [record])))
            await asyncio.sleep(0.05)
        started = time.monotonic()
        results = await asyncio.gather(*appending, return_exceptions=True)
        assert time.monotonic() - started < 10
        await real_engine.resume()
        kinds = [type(result) for result in results]
        assert set(kinds) == {OutcomeUnknownError, NotWrittenError}
        assert kinds[0] is OutcomeUnknownError

        for error in results:
            if isinstance(error, OutcomeUnknownError) and error.settled is not None:
                await asyncio.wait_for(error.settled, 30)

        async def writes_again():
            try:
                await log.append(IMAGES, [Record(b"last", b"last", partition=0)])
            except (NotWrittenError, OutcomeUnknownError):
                return False
            return True

        await until(writes_again, timeout_seconds=60)
        end = (await log.bounds(IMAGES, 0)).end
        keys = {record.key for record in await take(log, end, topic=IMAGES)}
        for n, kind in enumerate(kinds):
            if kind is NotWrittenError:
                assert b"%d" % n not in keys

    async def test_reads_of_an_engine_that_hangs_end_and_come_back(self, real_engine, opened):
        log = await opened(real_engine, read_timeout_seconds=1.5)
        [position] = await log.append(IMAGES, [Record(b"k", b"v")])
        await real_engine.stall(log)
        try:
            async with asyncio.timeout(20):
                await log.read(IMAGES, position)
        except LogUnavailableError:
            pass
        finally:
            await real_engine.resume()
        assert (await log.read(IMAGES, position)).record.value == b"v"
