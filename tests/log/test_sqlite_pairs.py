"""Two records in one step, and the tail that need not read what was just written."""

import asyncio
import random
import sqlite3
from contextlib import closing

import pytest

from app.errors import NotWrittenError, OutcomeUnknownError, RecordGoneError
from app.log import EVENTS, IMAGES, PairingLog, Position, Record
from tests.support.facts import until


def naming(position):
    """The record that follows from the position of another."""
    return Record(b"event", str(position).encode())


async def in_file(log, start):
    """What a tail yields that reads everything from the file."""
    log._recent.clear()
    return await anext(log.tail(EVENTS, 0, start))


class TestPairs:
    async def test_the_second_record_names_the_position_of_the_first(self, open_log):
        log = await open_log(image_partitions=3)
        assert isinstance(log, PairingLog)
        await log.append(IMAGES, [Record(b"k", b"other", partition=n) for n in range(3)])
        head, event = await log.append_pair(IMAGES, Record(b"k", b"v"), EVENTS, naming)
        assert (await log.read(IMAGES, head)).record.value == b"v"
        assert event == Position(0, 0)
        assert (await log.read(EVENTS, event)).record.value == str(head).encode()

    async def test_of_a_pair_whose_second_record_fails_nothing_is_there(self, open_log):
        log = await open_log(image_partitions=1, max_record_bytes=10_000)

        def failing(_position):
            raise KeyError("our own mistake")

        def too_large(_position):
            return Record(b"event", bytes(10_000))

        with pytest.raises(KeyError):
            await log.append_pair(IMAGES, Record(b"k", b"v"), EVENTS, failing)
        with pytest.raises(ValueError, match="over the limit"):
            await log.append_pair(IMAGES, Record(b"k", b"v"), EVENTS, too_large)
        [head] = await log.append(IMAGES, [Record(b"k", b"next")])
        batch = await in_file(log, 0)
        assert batch.records == ()
        with closing(sqlite3.connect(log.path)) as file:
            stored = file.execute('SELECT "offset", value FROM "images-0"').fetchall()
        assert stored == [(head.offset, b"next")]

    async def test_a_pair_that_waits_too_long_is_not_written(self, open_log):
        log = await open_log(append_timeout_seconds=0.3)
        with closing(sqlite3.connect(log.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            # The first one is in the transaction that waits for the lock.
            first = asyncio.create_task(log.append(EVENTS, [Record(b"k", b"first")]))
            await until(lambda: log._writer.trouble)
            with pytest.raises(NotWrittenError):
                await log.append_pair(IMAGES, Record(b"k", b"v"), EVENTS, naming)
            with pytest.raises(OutcomeUnknownError):
                await first
        await log.append(EVENTS, [Record(b"k", b"last")])
        batch = await in_file(log, 0)
        assert [each.value for each in batch.records] == [b"first", b"last"]


class TestRecent:
    async def test_a_tail_that_is_awake_reads_nothing_from_the_file(self, open_log, monkeypatch):
        log = await open_log(heartbeat_seconds=60)
        await log.append(EVENTS, [Record(b"k", b"old")])
        tail = log.tail(EVENTS, 0, 0)
        assert (await anext(tail)).next_offset == 1
        run = log._readers.run
        reads = []

        async def counted(query):
            reads.append(query)
            return await run(query)

        monkeypatch.setattr(log._readers, "run", counted)
        for n in range(20):
            waiting = asyncio.create_task(anext(tail))
            head, event = await log.append_pair(IMAGES, Record(b"%d" % n, b"v"), EVENTS, naming)
            batch = await waiting
            assert [each.position for each in batch.records] == [event]
            assert batch.records[0].value == str(head).encode()
            assert (batch.next_offset, batch.end) == (event.offset + 1, event.offset + 1)
        assert reads == []
        await tail.aclose()

    async def test_a_tail_sees_the_same_records_from_memory_and_from_the_file(self, open_log):
        log = await open_log(image_partitions=1, heartbeat_seconds=0.05)
        chance = random.Random(1)
        seen = []
        ended = asyncio.Event()

        async def follow():
            async for batch in log.tail(EVENTS, 0, 0):
                seen.extend(batch.records)
                if ended.is_set() and batch.next_offset == batch.end and not batch.records:
                    return
                if chance.random() < 0.3:
                    await asyncio.sleep(0.01)

        following = asyncio.create_task(follow())
        for n in range(300):
            values = [
                random.randbytes(chance.choice([1, 3000])) for _ in range(chance.randrange(4))
            ]
            kind = chance.random()
            if kind < 0.4:
                await log.append(EVENTS, [Record(b"%d" % n, each) for each in values])
            elif kind < 0.8:
                headers = (("name", b"\xff"),)
                await log.append_pair(
                    IMAGES,
                    Record(b"k", b"v"),
                    EVENTS,
                    lambda position, h=headers: Record(b"e", memoryview(str(position).encode()), h),
                )
            elif kind < 0.9:
                with pytest.raises(TypeError):
                    # Rolled back: its offset is passed over.
                    await log.append(EVENTS, [Record(b"k", b"v", (("name", None),))])
            else:
                await log.append(IMAGES, [Record(b"k", b"v")])
        ended.set()
        await asyncio.wait_for(following, 30)
        stored, start = [], 0
        while (batch := await in_file(log, start)).records:
            stored += batch.records
            start = batch.next_offset
        assert len(stored) > 200
        assert seen == stored

    async def test_a_tail_passes_over_what_was_erased_or_trimmed_just_now(self, open_log):
        log = await open_log(heartbeat_seconds=0.05)
        await log.append(EVENTS, [Record(b"k", b"%d" % n) for n in range(4)])
        await log.erase(EVENTS, [Position(0, 2)])
        batch = await anext(log.tail(EVENTS, 0, 1))
        assert [each.value for each in batch.records] == [b"1", b"3"]
        await log.append(EVENTS, [Record(b"k", b"4")])
        await log.trim(EVENTS, 0, 4)
        with pytest.raises(RecordGoneError):
            await anext(log.tail(EVENTS, 0, 3))
