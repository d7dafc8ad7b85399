"""What is special to the embedded log; what both logs promise is in `tests/contract/`."""

import asyncio
import gc
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from app.errors import (
    ConfigurationError,
    LogUnavailableError,
    NotWrittenError,
    OutcomeUnknownError,
    RecordGoneError,
    RecordMissingError,
)
from app.log import EVENTS, IMAGES, Bounds, Position, Record
from app.log.sqlite.database import PAGE_BYTES, WAL_KEPT_BYTES
from app.log.sqlite.log import SqliteLog
from app.log.sqlite.writer import GROUP_BYTES

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def open_log(tmp_path):
    """Open logs in one folder; they are stopped when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(**options):
            log = SqliteLog(tmp_path / "data", **options)
            stack.push_async_callback(log.stop)
            await log.start()
            return log

        yield start


class Faulty:
    """A connection whose COMMIT fails with a result code as long as there is one."""

    def __init__(self, connection, code):
        self.connection = connection
        self.code = code

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, statement, *parameters):
        if self.code and statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            raise error
        return self.connection.execute(statement, *parameters)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def files_containing(folder, marks):
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {(name, mark) for name, data in contents.items() for mark in marks if mark in data}


def wal_bytes(log):
    return log.path.with_name(log.path.name + "-wal").stat().st_size


class TestAppend:
    async def test_appends_that_wait_share_a_commit(self, open_log):
        log = await open_log()
        before = log._writer.commits
        records = [Record(b"%d" % n, bytes(50_000)) for n in range(64)]
        await asyncio.gather(*(log.append(IMAGES, [record]) for record in records))
        assert log._writer.commits - before <= 8

    async def test_a_group_is_bounded_in_bytes(self, open_log):
        log = await open_log()
        before = log._writer.commits
        appends = (log.append(IMAGES, [Record(b"%d" % n, bytes(1_000_000))]) for n in range(32))
        await asyncio.gather(*appends)
        assert log._writer.commits - before >= 32_000_000 // GROUP_BYTES

    async def test_every_commit_is_synchronous(self, open_log):
        log = await open_log()
        assert log._writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert log._writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

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
        writer = log._writer
        writer._connection = Faulty(writer._connection, sqlite3.SQLITE_IOERR_FSYNC)
        with pytest.raises(OutcomeUnknownError) as unknown:
            await log.append(EVENTS, [Record(b"k", b"v")])
        assert [type(outcome) for outcome in unknown.value.outcomes] == [OutcomeUnknownError]
        assert "disk I/O error" in log.trouble

    async def test_a_full_disk_writes_nothing_and_trouble_ends_by_itself(self, open_log):
        log = await open_log()
        writer = log._writer
        writer._connection = Faulty(writer._connection, sqlite3.SQLITE_FULL)
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", b"v")])
        assert log.trouble
        writer._connection.code = None
        await until(lambda: log.trouble is None)
        assert await log.bounds(EVENTS, 0) == Bounds(0, 0)

    async def test_a_database_that_may_not_grow_refuses_and_keeps_what_it_has(self, open_log):
        log = await open_log()
        [position] = await log.append(EVENTS, [Record(b"k", b"kept")])
        log._writer._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", bytes(1_000_000))])
        log._writer._connection.execute("PRAGMA max_page_count = 1000000")
        [later] = await log.append(EVENTS, [Record(b"k", b"later")])
        assert later > position
        assert (await log.read(EVENTS, position)).record.value == b"kept"
        assert (await log.read(EVENTS, later)).record.value == b"later"

    async def test_an_offset_that_was_rolled_back_is_not_given_again(self, open_log):
        log = await open_log()
        writer = log._writer
        writer._connection = Faulty(writer._connection, sqlite3.SQLITE_FULL)
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", b"v")])
        writer._connection.code = None
        assert await log.append(EVENTS, [Record(b"k", b"v")]) == [Position(0, 1)]
        with pytest.raises(RecordMissingError):
            await log.read(EVENTS, Position(0, 0))
        batch = await anext(log.tail(EVENTS, 0, 0))
        assert [record.position.offset for record in batch.records] == [1]


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


class TestErasure:
    async def test_erased_bytes_are_in_no_file(self, open_log):
        log = await open_log()
        marks = [random.randbytes(16) for _ in range(6)]
        records = [
            Record(mark, mark * 2_000, (("h", mark.hex().encode()),), partition=0) for mark in marks
        ]
        positions = await log.append(IMAGES, records)
        searched = [form for mark in marks[:5] for form in (mark, mark.hex().encode())]
        assert files_containing(log.path.parent, searched)
        await log.erase(IMAGES, positions[:5])
        assert not files_containing(log.path.parent, searched)
        for position in positions[:5]:
            with pytest.raises(RecordGoneError):
                await log.read(IMAGES, position)
        assert (await log.read(IMAGES, positions[5])).record.value == marks[5] * 2_000

    async def test_no_copy_of_an_erased_record_is_left_where_pages_were_merged(self, open_log):
        """Trims empty pages beside records that are erased a little later, and looks each time."""
        log = await open_log(image_partitions=1)
        rng = random.Random(1)
        marks = [b"<%016x>" % rng.getrandbits(64) for _ in range(160)]
        await log.append(IMAGES, [Record(b"k" * 24, mark * 83) for mark in marks])
        removed, start = set(), 0
        while start < 150:
            start += rng.randrange(1, 6)
            await log.trim(IMAGES, 0, start)
            erased = [Position(0, n) for n in range(start, start + 10) if rng.random() < 0.3]
            await log.erase(IMAGES, erased)
            removed |= {*range(start), *(position.offset for position in erased)}
            data = b"".join(path.read_bytes() for path in log.path.parent.iterdir())
            found = set(re.findall(rb"<[0-9a-f]{16}>", data))
            assert found == {mark for n, mark in enumerate(marks) if n not in removed}

    async def test_all_but_a_page_of_each_erased_record_is_used_again(self, open_log):
        log = await open_log(image_partitions=1)
        records = [Record(b"k", random.randbytes(500_000)) for _ in range(10)]
        sizes = []
        for _ in range(4):
            await log.erase(IMAGES, await log.append(IMAGES, records))
            sizes.append(log.path.stat().st_size)
        assert sizes[3] - sizes[0] <= 3 * len(records) * PAGE_BYTES

    async def test_trimming_gives_back_all_but_a_bounded_number_of_pages(self, open_log):
        log = await open_log()
        sizes = []
        for _ in range(4):
            records = [Record(b"k", bytes(1_000)) for _ in range(8_000)]
            [*_, last] = await log.append(EVENTS, records)
            await log.trim(EVENTS, 0, last.offset + 1)
            sizes.append(log.path.stat().st_size)
        assert sizes[3] <= 1.1 * sizes[1]

    async def test_an_erasure_waits_for_another_programs_reader(self, open_log):
        log = await open_log(append_timeout_seconds=0.5)
        mark = random.randbytes(16)
        positions = await log.append(EVENTS, [Record(b"k", mark)])
        with closing(sqlite3.connect(log.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM log").fetchone()
            with pytest.raises(LogUnavailableError):
                await log.erase(EVENTS, positions)
            assert files_containing(log.path.parent, [mark])
        await until(lambda: not files_containing(log.path.parent, [mark]))

    async def test_trimming_twice_and_below_the_start_changes_nothing(self, open_log):
        log = await open_log()
        await log.append(EVENTS, [Record(b"k", b"v")] * 5)
        for before in (3, 3, 1):
            await log.trim(EVENTS, 0, before)
            assert await log.bounds(EVENTS, 0) == Bounds(3, 5)


class TestStart:
    async def test_more_image_partitions_are_added_and_fewer_lose_nothing(self, open_log):
        log = await open_log(image_partitions=2)
        positions = await log.append(IMAGES, [Record(b"k", b"v", partition=n) for n in range(2)])
        await log.stop()
        log = await open_log(image_partitions=5)
        assert log.partitions(IMAGES) == 5
        positions += await log.append(IMAGES, [Record(b"k", b"v", partition=4)])
        await log.stop()
        log = await open_log(image_partitions=1)
        assert log.partitions(IMAGES) == 5
        for position in positions:
            assert (await log.read(IMAGES, position)).record.value == b"v"

    async def test_only_the_owner_may_enter_a_folder_that_it_makes(self, open_log):
        log = await open_log()
        assert log.path.parent.stat().st_mode & 0o777 == 0o700

    async def test_a_newer_layout_is_refused_and_left_alone(self, open_log):
        log = await open_log()
        await log.stop()
        with closing(sqlite3.connect(log.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(ConfigurationError, match="newer imagegate"):
            await open_log()
        with closing(sqlite3.connect(log.path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (99,)

    async def test_another_programs_database_is_refused_and_not_changed(self, open_log, tmp_path):
        path = tmp_path / "data" / "log.sqlite3"
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE precious (x)")
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match="belongs to another program"):
            await open_log()
        assert path.read_bytes() == before

    @pytest.mark.parametrize("keep", [50, 5_000, 60_000])
    async def test_a_truncated_database_is_refused(self, open_log, keep):
        log = await open_log()
        await log.stop()
        os.truncate(log.path, keep)
        with pytest.raises(ConfigurationError, match="backup"):
            await open_log()

    async def test_text_in_the_place_of_the_database_is_refused(self, open_log, tmp_path):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "log.sqlite3").write_text("hello " * 1000)
        with pytest.raises(ConfigurationError, match="not an image log"):
            await open_log()

    async def test_a_folder_that_cannot_be_made_is_refused(self, open_log, tmp_path):
        (tmp_path / "data").write_text("a file")
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await open_log()

    async def test_a_second_log_is_refused_and_the_first_goes_on(self, open_log, tmp_path):
        log = await open_log()
        with pytest.raises(ConfigurationError, match=f"{tmp_path}/data is in use"):
            await open_log(lock_wait_seconds=0)
        await log.append(EVENTS, [Record(b"k", b"v")])

    async def test_a_log_that_could_not_start_holds_nothing(self, open_log):
        log = await open_log()
        await log.stop()
        shutil.copy(log.path, log.path.with_suffix(".kept"))
        log.path.write_text("damaged " * 1000)
        failed = SqliteLog(log.path.parent)
        with pytest.raises(ConfigurationError):
            await failed.start()
        shutil.move(log.path.with_suffix(".kept"), log.path)
        await open_log()
        await failed.stop()

    async def test_stopping_before_starting_and_twice_is_harmless(self, tmp_path):
        log = SqliteLog(tmp_path)
        await log.stop()
        await log.stop()
        with pytest.raises(NotWrittenError):
            await log.append(EVENTS, [Record(b"k", b"v")])

    async def test_stopping_leaves_no_thread_and_no_write_ahead_log(self, open_log):
        log = await open_log()
        await log.append(IMAGES, [Record(b"k", bytes(100_000))])
        await log.stop()
        gc.collect()
        names = {thread.name for thread in threading.enumerate()}
        assert not [name for name in names if name.startswith("sqlite-log")]
        files = {path.name for path in log.path.parent.iterdir()}
        assert files == {"log.sqlite3", "imagegate.lock"}


PRELUDE = """
import asyncio, multiprocessing, os, signal, sys
from pathlib import Path
from app.log import EVENTS, IMAGES, Record
from app.log.sqlite.log import SqliteLog

async def opened():
    log = SqliteLog(Path(sys.argv[1]))
    await log.start()
    return log
"""

APPENDER = """
async def main():
    log = await opened()
    async def append(worker):
        for n in range(1_000_000):
            value = b"%d-%d " % (worker, n) * 5_000
            [position] = await log.append(IMAGES, [Record(b"%d" % worker, value)])
            print(position, worker, n, flush=True)
    await asyncio.gather(*(append(worker) for worker in range(8)))

asyncio.run(main())
"""

PARENT_OF_A_WORKER = """
def work():
    print("worker", os.getpid(), flush=True)
    signal.pause()

async def main():
    await opened()
    multiprocessing.get_context("forkserver").Process(target=work).start()
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""

LEAVES_WITHOUT_STOPPING = """
async def main():
    log = await opened()
    await log.append(EVENTS, [Record(b"k", b"v")])

asyncio.run(main())
"""


@pytest.fixture
def run_script(tmp_path):
    """Start a Python program in a process of its own, with the folder of the log."""
    started = []

    def run(source):
        script = tmp_path / "script.py"
        script.write_text(PRELUDE + source)
        process = subprocess.Popen(
            [sys.executable, script, tmp_path / "data"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


class TestProcesses:
    async def test_after_kill_9_a_restart_has_everything_that_was_acknowledged(
        self, run_script, open_log
    ):
        process = run_script(APPENDER)
        lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(200)]
        process.kill()
        log = await open_log()
        lines += process.stdout.read().splitlines()
        assert len(lines) >= 200
        for position, worker, n in (line.split() for line in lines if line.count(" ") == 2):
            stored = await log.read(IMAGES, Position(*map(int, position.split(":"))))
            assert stored.record.value == f"{worker}-{n} ".encode() * 5_000

    async def test_a_second_process_is_refused(self, run_script, open_log, tmp_path):
        process = run_script(APPENDER)
        await asyncio.to_thread(process.stdout.readline)
        with pytest.raises(ConfigurationError, match=f"{tmp_path}/data is in use"):
            await open_log(lock_wait_seconds=0)
        assert process.poll() is None

    async def test_a_worker_that_outlives_a_killed_gateway_does_not_hold_the_folder(
        self, run_script, open_log
    ):
        process = run_script(PARENT_OF_A_WORKER)
        worker = int((await asyncio.to_thread(process.stdout.readline)).split()[1])
        process.kill()
        process.wait()
        try:
            os.kill(worker, 0)
            await open_log()
        finally:
            os.kill(worker, signal.SIGKILL)

    async def test_a_process_that_forgets_to_stop_exits_all_the_same(self, run_script, open_log):
        process = run_script(LEAVES_WITHOUT_STOPPING)
        assert await asyncio.to_thread(process.wait, 20) == 0
        log = await open_log()
        assert await log.bounds(EVENTS, 0) == Bounds(0, 1)
