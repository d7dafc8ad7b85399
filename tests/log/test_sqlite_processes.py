"""The embedded log in processes that are killed, or that meet in one folder."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.log import EVENTS, IMAGES, Bounds, Position

ROOT = Path(__file__).parents[2]
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
