"""What both engines promise once they are stopped, and while they hang."""

import asyncio
import time

import pytest

from app.errors import LogUnavailableError, NotWrittenError, OutcomeUnknownError
from app.log import EVENTS, IMAGES, Bounds, Position, Record
from tests.support.engines import PARTITIONS, take, until_async


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

        await until_async(writes_again, timeout_seconds=60)
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
