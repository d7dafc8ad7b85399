"""Pools whose workers do the jobs of the tests, and a worker that is busy."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

from app.codec.pool import CodecPool
from app.codec.process import Start
from tests.support import codec_jobs
from tests.support.codec_jobs import do

ENOUGH_MEMORY = 1_500_000_000
# Starting takes 0.1 s of CPU.
START_TICKS = 20


def make_pool(*, workers=2, deadline_seconds=20.0, memory_bytes=ENOUGH_MEMORY, queue_seconds=10.0):
    start = Start(memory_bytes=memory_bytes, jobs=codec_jobs.__name__)
    return CodecPool(
        workers=workers,
        deadline_seconds=deadline_seconds,
        start=start,
        queue_seconds=queue_seconds,
    )


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # another process changes it
            await asyncio.sleep(0.005)
    return found


def ticks(pid: int) -> int:
    """Return the CPU time of a process: utime and stime (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def spinning_in(pool):
    """Return the process id of the worker that spins, once it uses its CPU."""
    pids = [each._process.pid for each in pool._workers.alive if each.busy and "spin" in each._task]
    return next((pid for pid in pids if ticks(pid) >= START_TICKS), None)


@asynccontextmanager
async def spinning(pool):
    """Keep one worker busy; yields the task and the worker's process id."""
    task = asyncio.create_task(pool.run(do(codec_jobs.spin), b""))
    pid = await until(lambda: spinning_in(pool))
    yield task, pid
    if not task.done():
        # Cancelled, it would go on for a while.
        os.kill(pid, signal.SIGKILL)
    await asyncio.gather(task, return_exceptions=True)
