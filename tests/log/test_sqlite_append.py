"""Appends to the embedded log: group commit, deadlines, disks that fail."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from app.errors import NotWrittenError, OutcomeUnknownError, RecordMissingError
from app.log import EVENTS, IMAGES, Bounds, Position, Record
from app.log.sqlite.writer import GROUP_BYTES
from tests.support.facts import until


class Watched:
    """The writer's connection: counts its commits, which fail while there is an error code."""

    def __init__(self, log, code=None):
        self.connection = log._writer._connection
        self.code = code
        self.commits = 0
        log._writer._connection = self

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, statement, *parameters):
        if statement == "COMMIT":
            self.commits += 1
            if self.code:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = self.code
                raise error
        return self.connection.execute(statement, *parameters)


class TestAppend:
    async def test_appends_that_wait_share_a_commit(self, open_log):
        log = await open_log()
        connection = Watched(log)
        records = [Record(b"%d" % n, bytes(50_000)) for n in range(64)]
        await asyncio.gather(*(log.append(IMAGES, [record]) for record in records))
        assert connection.commits <= 8

    async def test_a_group_is_bounded_in_bytes(self, open_log):
        log = await open_log()
        connection = Watched(log)
        appends = (log.append(IMAGES, [Record(b"%d" % n, bytes(1_000_000))]) for n in range(32))
        await asyncio.gather(*appends)
        assert connection.commits >= 32_000_000 // GROUP_BYTES

    async def test_every_commit_is_synchronous(self, open_log):
        log = await open_log()
        connection = Watched(log)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    async def test_a_cancelled_append_is_written_all_the_same(
        self,
        open_log,
    ):
        log = await open_log()
        append = asyncio.create_task(log.append(EVENTS, [Record(b"k", b"v")]))
        await asyncio.sleep(0)
        append.cancel()
        await asyncio.wait({append})
        assert append.cancelled()
        assert await log.append(EVENTS, [Record(b"k", b"next")]) == [Position(0, 1)]

    async def test_a_value_that_cannot_be_read_fails_its_own_append_only(self, open_log):
        log = await open_log()
        with closing(sqlite3.connect(log.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            released = memoryview(bytearray(10))
            values = [b"good", released, b"good"]
            first = asyncio.create_task(log.append(EVENTS, [Record(b"k", b"first")]))
            await until(lambda: log.trouble is not None)
            appends = [
                asyncio.create_task(log.append(EVENTS, [Record(b"k", value)])) for value in values
            ]
            await asyncio.sleep(0)
            released.release()
            blocker.execute("ROLLBACK")
            results = await asyncio.gather(first, *appends, return_exceptions=True)
        assert [type(result) for result in results] == [list, list, ValueError, list]
        assert (await log.read(EVENTS, results[3][0])).record.value == b"good"

    async def test_an_unknown_topic_or_partition_is_a_programming_error(self, open_log):
        log = await open_log(image_partitions=2)
        with pytest.raises(ValueError, match="unknown topic"):
            await log.append("other", [Record(b"k", b"v")])
        with pytest.raises(ValueError, match="no partition 2"):
            await log.append(IMAGES, [Record(b"k", b"v", partition=2)])


class TestDeadline:
    async def test_what_waits_behind_a_held_lock_is_not_written_and_what_is_taken_is_unknown(
        self, open_log
    ):
        log = await open_log(append_timeout_seconds=0.5)
        with closing(sqlite3.connect(log.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            taken = asyncio.create_task(log.append(EVENTS, [Record(b"taken", b"v")] * 2))
            await until(lambda: log.trouble is not None)
            with pytest.raises(NotWrittenError):
                await log.append(EVENTS, [Record(b"waiting", b"v")])
            with pytest.raises(OutcomeUnknownError) as unknown:
                await taken
            assert len(unknown.value.outcomes) == 2
            assert not unknown.value.settled.done()
            assert not log._writer._waiting
            blocker.execute("ROLLBACK")
        await asyncio.wait_for(unknown.value.settled, 20)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 2)
        assert await log.append(EVENTS, [Record(b"after", b"v")]) == [Position(0, 2)]
        assert log.trouble is None

    async def test_a_commit_that_sqlite_cannot_vouch_for_is_unknown(self, open_log):
        log = await open_log()
        Watched(log, sqlite3.SQLITE_IOERR_FSYNC)
        with pytest.raises(OutcomeUnknownError) as unknown:
            await log.append(EVENTS, [Record(b"k", b"v")])
        assert [type(outcome) for outcome in unknown.value.outcomes] == [OutcomeUnknownError]
        assert "disk I/O error" in log.trouble

    async def test_a_full_disk_writes_nothing_and_trouble_ends_by_itself(self, open_log):
        log = await open_log()
        connection = Watched(log, sqlite3.SQLITE_FULL)
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", b"v")])
        assert log.trouble
        connection.code = None
        await until(lambda: log.trouble is None)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 0)

    async def test_a_database_that_may_not_grow_refuses_and_keeps_what_it_has(self, open_log):
        log = await open_log()
        [position] = await log.append(EVENTS, [Record(b"k", b"kept")])
        connection = Watched(log)
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", bytes(1_000_000))])
        connection.execute("PRAGMA max_page_count = 1000000")
        [later] = await log.append(EVENTS, [Record(b"k", b"later")])
        assert later > position
        assert (await log.read(EVENTS, position)).record.value == b"kept"
        assert (await log.read(EVENTS, later)).record.value == b"later"

    async def test_an_offset_that_was_rolled_back_is_not_given_again(self, open_log):
        log = await open_log()
        connection = Watched(log, sqlite3.SQLITE_FULL)
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", b"v")])
        connection.code = None
        assert await log.append(EVENTS, [Record(b"k", b"v")]) == [Position(0, 1)]
        with pytest.raises(RecordMissingError):
            await log.read(EVENTS, Position(0, 0))
        batch = await anext(log.tail(EVENTS, 0, 0))
        assert [record.position.offset for record in batch.records] == [1]
