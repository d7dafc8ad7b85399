"""The codec pool: the end of a worker affects no other, and nothing outlives the pool."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from app.codec.pool import CodecPool
from app.codec.process import CodecProcess
from app.errors import (
    ConfigurationError,
    DecoderCrashedError,
    DecodeTimeoutError,
    ImageLimitError,
    InternalError,
    InvalidImageError,
    NotReadyError,
    UnsupportedFormatError,
)
from app.imaging.develop import Developed, develop
from app.imaging.formats import ImageFormat
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Recipe
from tests.support import bombs, codec_jobs, images

ENOUGH_MEMORY = 1_500_000_000


def make_pool(*, workers=2, deadline_seconds=20.0, memory_bytes=ENOUGH_MEMORY):
    return CodecPool(workers=workers, deadline_seconds=deadline_seconds, memory_bytes=memory_bytes)


@pytest_asyncio.fixture
async def pool():
    async with make_pool() as pool:
        yield pool


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not (found := condition()):  # another process changes it
            await asyncio.sleep(0.005)
    return found


def children() -> set[int]:
    """Process ids of the workers, which are the only children of this process."""
    return {
        int(pid)
        for path in Path("/proc/self/task").glob("*/children")
        for pid in path.read_text().split()
        if b"app.codec.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def spinning(pool, tmp_path):
    """Keep one worker busy; yields the task and the worker's process id."""
    marker = tmp_path / "spinning"
    task = asyncio.create_task(pool.run(codec_jobs.spin, os.fsencode(marker)))
    await until(marker.exists)
    yield task, int(marker.read_text())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_image_is_developed_in_a_worker(pool):
    developed = await pool.run(
        develop,
        images.jpeg(images.photo((320, 240))),
        ImageFormat.JPEG,
        ImageLimits(),
        Recipe(),
    )
    assert isinstance(developed, Developed)
    assert (developed.info.width, developed.info.height) == (320, 240)


async def test_megabytes_pass_both_ways_unchanged(pool):
    data = os.urandom(20_000_000)
    assert await pool.run(codec_jobs.echo, data) == data


@pytest.mark.parametrize(
    ("function", "data", "error"),
    [
        (codec_jobs.still, b"%PDF-1.7", UnsupportedFormatError),
        (codec_jobs.develop, images.jpeg()[:-100], InvalidImageError),
        (codec_jobs.develop, bombs.bomb_png(), ImageLimitError),
    ],
)
async def test_a_refusal_comes_back_as_what_it_was_with_its_trace(pool, function, data, error):
    with pytest.raises(error) as refusal:
        await pool.run(function, data)
    assert refusal.value.detail
    assert f"in {function.__name__}" in str(refusal.value.__cause__)


async def test_an_error_of_several_arguments_comes_back_from_a_worker_as_it_is(pool):
    error = UnsupportedFormatError("A PDF.", "image/png")
    with pytest.raises(UnsupportedFormatError) as refusal:
        await pool.run(codec_jobs.refuse, b"", error)
    assert refusal.value.detail == "A PDF."
    assert refusal.value.header_values == {"Accept": "image/png"}


async def test_a_mistake_of_ours_is_an_internal_error_whose_cause_names_the_place(pool):
    with pytest.raises(InternalError) as mistake:
        await pool.run(codec_jobs.blunder, b"")
    assert "no such key" not in mistake.value.detail
    assert "in blunder" in str(mistake.value.__cause__)


async def test_a_killed_worker_fails_its_own_image_while_ten_others_succeed(pool, tmp_path):
    data = images.jpeg(images.photo((320, 240)))
    async with spinning(pool, tmp_path) as (doomed, pid):
        others = [
            asyncio.create_task(pool.run(develop, data, ImageFormat.JPEG, ImageLimits(), Recipe()))
            for _ in range(10)
        ]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DecoderCrashedError):
            await doomed
        assert all(not developed.info.kept for developed in await asyncio.gather(*others))


async def test_a_worker_that_dies_of_its_image_is_replaced():
    async with make_pool(workers=1) as pool:
        before = await pool.run(codec_jobs.process_id, b"")
        with pytest.raises(DecoderCrashedError):
            await pool.run(codec_jobs.crash, b"")
        assert await pool.run(codec_jobs.process_id, b"") != before


async def test_workers_killed_while_idle_cost_no_image():
    async with make_pool(workers=1) as pool:
        for _ in range(3):
            pid = await pool.run(codec_jobs.process_id, b"")
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: not alive(pid))
            assert await pool.run(codec_jobs.length, b"four") == 4


async def test_a_decoder_that_spins_is_killed_at_the_deadline(tmp_path):
    async with make_pool(workers=1, deadline_seconds=1) as pool:
        started = time.monotonic()
        async with spinning(pool, tmp_path) as (task, pid):
            with pytest.raises(DecodeTimeoutError, match="1 s"):
                await task
            assert 0.9 < time.monotonic() - started < 2
            await until(lambda: not alive(pid))
        assert await pool.run(codec_jobs.length, b"four") == 4


async def test_waiting_for_a_worker_does_not_count_towards_the_deadline():
    async with make_pool(workers=1, deadline_seconds=1) as pool:
        await asyncio.gather(*(pool.run(codec_jobs.work, b"", 0.3) for _ in range(5)))


async def test_more_memory_than_allowed_is_a_limit_and_the_worker_survives():
    async with make_pool(workers=1) as pool:
        pid = await pool.run(codec_jobs.process_id, b"")
        with pytest.raises(ImageLimitError):
            await pool.run(codec_jobs.devour, b"")
        assert await pool.run(codec_jobs.process_id, b"") == pid


async def test_an_image_too_large_for_the_memory_limit_is_refused():
    async with make_pool(workers=1, memory_bytes=150_000_000) as pool:
        limits = ImageLimits(max_pixels=200_000_000)
        with pytest.raises(ImageLimitError, match="memory"):
            await pool.run(develop, bombs.bomb_png(), ImageFormat.PNG, limits, Recipe())


async def test_workers_are_contained(pool, monkeypatch):
    monkeypatch.setenv("IMAGEGATE_KAFKA__PASSWORD", "secret")
    async with make_pool(workers=1) as fresh:
        assert await fresh.run(codec_jobs.limits, b"") == [(ENOUGH_MEMORY,) * 2, (0, 0)]
        assert "IMAGEGATE_KAFKA__PASSWORD" not in await fresh.run(codec_jobs.environment, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_whole_group_does_not_end_an_image_in_work(number):
    async with make_pool(workers=1) as pool:
        pid = await pool.run(codec_jobs.process_id, b"")
        os.kill(pid, number)
        assert await pool.run(codec_jobs.process_id, b"") == pid


async def test_a_caller_that_leaves_takes_the_worker_with_it_and_the_pool_heals(tmp_path):
    async with make_pool(workers=1) as pool:
        async with spinning(pool, tmp_path) as (task, pid):
            task.cancel()
            await until(lambda: not alive(pid))
        assert await pool.run(codec_jobs.length, b"four") == 4


async def test_a_caller_that_leaves_the_queue_costs_nothing(tmp_path):
    async with make_pool(workers=1) as pool:
        pid = await pool.run(codec_jobs.process_id, b"")
        busy = asyncio.create_task(pool.run(codec_jobs.work, b"", 0.1))
        waiting = asyncio.create_task(pool.run(codec_jobs.length, b"four"))
        await asyncio.sleep(0)
        waiting.cancel()
        await busy
        assert await pool.run(codec_jobs.process_id, b"") == pid


async def test_stopping_ends_every_process_and_turns_every_caller_away(tmp_path):
    pool = make_pool(workers=1)
    await pool.start()
    async with spinning(pool, tmp_path) as (running, pid):
        queued = [asyncio.create_task(pool.run(codec_jobs.length, b"")) for _ in range(3)]
        await asyncio.sleep(0)
        started = time.monotonic()
        await pool.stop()
        assert time.monotonic() - started < 2
        assert not alive(pid)
        outcomes = await asyncio.gather(running, *queued, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [NotReadyError] * 4
    with pytest.raises(NotReadyError):
        await pool.run(codec_jobs.length, b"")


async def test_a_pool_whose_workers_cannot_start_says_so():
    with pytest.raises(ConfigurationError, match="10,000,000 bytes"):
        await make_pool(memory_bytes=10_000_000).start()


async def test_a_pool_that_starts_in_part_leaves_no_process_behind(monkeypatch):
    ready, started = CodecProcess.ready, set()

    async def second_fails(worker):
        started.update(children())
        await ready(worker)
        if len(started) == 2:
            raise EOFError

    monkeypatch.setattr(CodecProcess, "ready", second_fails)
    with pytest.raises(ConfigurationError):
        await make_pool(workers=2).start()
    assert len(started) == 2
    assert not any(alive(pid) for pid in started)


async def test_a_hijacked_worker_cannot_run_code_in_the_gateway(pool, tmp_path):
    target = tmp_path / "owned"
    with pytest.raises(InternalError) as refused:
        await pool.run(codec_jobs.exploit, os.fsencode(target))
    assert "posix.mkdir" in str(refused.value.__cause__)
    assert not target.exists()


GATEWAY = """
import asyncio, os, sys
from app.codec.pool import CodecPool
from tests.support import codec_jobs

async def main():
    async with CodecPool(workers=2, deadline_seconds=600, memory_bytes=1_500_000_000) as pool:
        busy = asyncio.create_task(pool.run(codec_jobs.spin, os.fsencode(sys.argv[1])))
        print(await pool.run(codec_jobs.process_id, b""), flush=True)
        await busy

asyncio.run(main())
"""


async def test_a_gateway_killed_for_good_leaves_no_worker_behind(tmp_path):
    marker = tmp_path / "spinning"
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY, str(marker)), stdout=asyncio.subprocess.PIPE
    )
    idle = int(await gateway.stdout.readline())
    await until(marker.exists)
    busy = int(marker.read_text())
    assert alive(idle)
    assert alive(busy)
    gateway.kill()
    await gateway.wait()
    await until(lambda: not alive(idle) and not alive(busy))
