"""Reads and tails of the embedded log, beside its writer."""

import asyncio
import random
import sqlite3
from contextlib import closing

import pytest

from app.errors import LogUnavailableError
from app.log import EVENTS, IMAGES, Record
from app.log.sqlite.database import WAL_KEPT_BYTES
from app.log.sqlite.writer import GROUP_BYTES
from tests.support.facts import until


def wal_bytes(log):
    return log.path.with_name(log.path.name + "-wal").stat().st_size


class TestReaders:
    async def test_no_reader_waits_for_a_writer(self, open_log):
        log = await open_log(read_timeout_seconds=2)
        [position] = await log.append(EVENTS, [Record(b"k", b"v")])
        with closing(sqlite3.connect(log.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            assert (await log.read(EVENTS, position)).record.value == b"v"
            assert len((await anext(log.tail(EVENTS, 0, 0))).records) == 1

    async def test_a_commit_wakes_a_tail_before_its_heartbeat(self, open_log):
        log = await open_log(heartbeat_seconds=60)
        waiting = asyncio.create_task(anext(log.tail(EVENTS, 0, 0)))
        await until(lambda: log._wakeups._appended)
        await log.append(EVENTS, [Record(b"k", b"v")])
        async with asyncio.timeout(5):
            assert len((await waiting).records) == 1

    async def test_stopping_ends_a_tail_that_waits(self, open_log):
        log = await open_log(heartbeat_seconds=60)
        waiting = asyncio.create_task(anext(log.tail(EVENTS, 0, 0)))
        await until(lambda: log._wakeups._appended)
        await log.stop()
        async with asyncio.timeout(5):
            with pytest.raises(LogUnavailableError):
                await waiting

    async def test_a_tail_passes_over_what_was_erased(self, open_log):
        log = await open_log()
        positions = await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(4)])
        await log.erase(EVENTS, positions[1:])
        batch = await anext(log.tail(EVENTS, 0, 0))
        assert ([record.value for record in batch.records], batch.next_offset) == ([b"0"], 4)

    async def test_the_write_ahead_log_stays_bounded_under_a_tail_and_readers(self, open_log):
        log = await open_log(image_partitions=1)
        blob = random.randbytes(1_000_000)
        largest = passed = 0

        async def append(count):
            nonlocal largest
            for _ in range(count):
                [position] = await log.append(IMAGES, [Record(b"k", blob)])
                assert (await log.read(IMAGES, position)).record.value == blob
                largest = max(largest, wal_bytes(log))

        async def follow():
            nonlocal passed
            async for batch in log.tail(IMAGES, 0, 0):
                passed += len(batch.records)
                if passed == 300:
                    return

        await asyncio.gather(follow(), *(append(25) for _ in range(12)))
        assert passed == 300
        assert GROUP_BYTES < largest <= WAL_KEPT_BYTES + GROUP_BYTES
