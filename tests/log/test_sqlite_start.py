"""Start and stop of the embedded log: which folders and files it refuses, what it leaves."""

import gc
import os
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from app.errors import ConfigurationError, NotWrittenError
from app.log import EVENTS, IMAGES, Record
from app.log.sqlite.log import SqliteLog


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

    async def test_a_newer_schema_is_refused_and_left_alone(self, open_log):
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
