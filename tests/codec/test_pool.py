"""The codec pool: the end of a worker affects no other, and nothing outlives the pool."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import pytest_asyncio

from app.codec.process import CodecProcess
from app.codec.tasks import Develop, Kind
from app.errors import (
    ConfigurationError,
    DecoderCrashedError,
    DecodeTimeoutError,
    ImageLimitError,
    InternalError,
    InvalidImageError,
    NotReadyError,
    OverloadedError,
    ShareExceededError,
    UnsupportedFormatError,
)
from app.imaging.develop import Developed
from app.imaging.formats import ACCEPTED, ImageFormat
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Recipe
from tests.support import bombs, codec_jobs, images
from tests.support.codec_jobs import do
from tests.support.codec_pools import ENOUGH_MEMORY, make_pool, spinning, spinning_in, until


@pytest_asyncio.fixture
async def pool():
    async with make_pool() as pool:
        yield pool


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


async def test_an_image_is_developed_in_a_worker(pool):
    developed = await pool.run(
        Develop(ImageFormat.JPEG, ImageLimits(), Recipe()), images.jpeg(images.photo((320, 240)))
    )
    assert isinstance(developed, Developed)
    assert (developed.info.width, developed.info.height) == (320, 240)


async def test_megabytes_pass_both_ways_unchanged(pool):
    data = os.urandom(20_000_000)
    assert await pool.run(do(codec_jobs.echo), data) == data


@pytest.mark.parametrize(
    ("function", "data", "error"),
    [
        (codec_jobs.still_simply, b"%PDF-1.7", UnsupportedFormatError),
        (codec_jobs.develop_simply, images.jpeg()[:-100], InvalidImageError),
        (codec_jobs.develop_simply, bombs.bomb_png(), ImageLimitError),
    ],
)
async def test_a_refusal_comes_back_as_what_it_was_with_its_trace(pool, function, data, error):
    with pytest.raises(error) as refusal:
        await pool.run(do(function), data)
    assert refusal.value.detail
    assert f"in {function.__name__}" in str(refusal.value.__cause__)


async def test_the_formats_of_an_accept_header_are_the_gateways_own(pool):
    task = do(codec_jobs.refuse, error="UnsupportedFormatError", arguments=["A PDF.", "x/evil"])
    with pytest.raises(UnsupportedFormatError) as refusal:
        await pool.run(task, b"")
    assert refusal.value.detail == "A PDF."
    accepted = ", ".join(each.content_type for each in ACCEPTED)
    assert refusal.value.header_values == {"Accept": accepted}


async def test_an_error_that_is_not_a_workers_is_an_internal_error(pool):
    task = do(codec_jobs.refuse, error="ImageGoneError", arguments=["It was deleted."])
    with pytest.raises(InternalError):
        await pool.run(task, b"")


async def test_a_mistake_of_ours_is_an_internal_error_whose_cause_names_the_place(pool):
    with pytest.raises(InternalError) as mistake:
        await pool.run(do(codec_jobs.blunder), b"")
    assert "no such key" not in mistake.value.detail
    assert "in blunder" in str(mistake.value.__cause__)


async def test_a_killed_worker_fails_its_own_image_while_ten_others_succeed(pool):
    data = images.jpeg(images.photo((320, 240)))
    async with spinning(pool) as (doomed, pid):
        others = [
            asyncio.create_task(pool.run(Develop(ImageFormat.JPEG, ImageLimits(), Recipe()), data))
            for _ in range(10)
        ]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DecoderCrashedError):
            await doomed
        assert all(not developed.info.kept for developed in await asyncio.gather(*others))


async def test_a_worker_that_dies_of_its_image_is_replaced():
    async with make_pool(workers=1) as pool:
        before = await pool.run(do(codec_jobs.process_id), b"")
        with pytest.raises(DecoderCrashedError):
            await pool.run(do(codec_jobs.crash), b"")
        assert await pool.run(do(codec_jobs.process_id), b"") != before


async def test_workers_killed_while_idle_cost_no_image():
    async with make_pool(workers=1) as pool:
        for _ in range(3):
            pid = await pool.run(do(codec_jobs.process_id), b"")
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: not alive(pid))
            assert await pool.run(do(codec_jobs.length), b"four") == 4


async def test_a_decoder_that_spins_is_killed_at_the_deadline():
    async with make_pool(workers=1, deadline_seconds=1) as pool:
        async with spinning(pool) as (task, pid):
            with pytest.raises(DecodeTimeoutError, match="1 s of a CPU"):
                await task
            await until(lambda: not alive(pid))
        assert await pool.run(do(codec_jobs.length), b"four") == 4


async def test_time_without_a_cpu_does_not_count_towards_the_deadline():
    async with make_pool(workers=1, deadline_seconds=0.3) as pool:
        await pool.run(do(codec_jobs.work, seconds=0.5), b"")


async def test_a_worker_that_gets_no_cpu_is_given_up_for_now():
    async with make_pool(workers=1, deadline_seconds=0.1) as pool:
        pid = await pool.run(do(codec_jobs.process_id), b"")
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(OverloadedError, match="busy") as refusal:
            await pool.run(do(codec_jobs.spin), b"")
        assert refusal.value.headers["Retry-After"]
        assert refusal.value.retryable
        await until(lambda: not alive(pid))
        assert await pool.run(do(codec_jobs.length), b"four") == 4


async def test_waiting_for_a_worker_does_not_count_towards_the_deadline():
    async with make_pool(workers=1, deadline_seconds=1) as pool:
        await asyncio.gather(*(pool.run(do(codec_jobs.work, seconds=0.3), b"") for _ in range(5)))


async def test_more_memory_than_allowed_is_a_limit_and_the_worker_survives():
    async with make_pool(workers=1) as pool:
        pid = await pool.run(do(codec_jobs.process_id), b"")
        with pytest.raises(ImageLimitError):
            await pool.run(do(codec_jobs.devour), b"")
        assert await pool.run(do(codec_jobs.process_id), b"") == pid


async def test_an_image_too_large_for_the_memory_limit_is_refused():
    async with make_pool(workers=1, memory_bytes=150_000_000) as pool:
        limits = ImageLimits(max_pixels=200_000_000)
        with pytest.raises(ImageLimitError, match="memory"):
            await pool.run(Develop(ImageFormat.PNG, limits, Recipe()), bombs.bomb_png())


async def test_workers_are_contained(monkeypatch):
    monkeypatch.setenv("IMAGEGATE_KAFKA__PASSWORD", "secret")
    async with make_pool(workers=1) as pool:
        pid = await pool.run(do(codec_jobs.process_id), b"")
        limits = {
            resource.RLIMIT_AS: ENOUGH_MEMORY,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: 16,
        }
        for limit, most in limits.items():
            assert resource.prlimit(pid, limit) == (most, most)
        assert "IMAGEGATE_KAFKA__PASSWORD" not in await pool.run(do(codec_jobs.environment), b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_whole_group_does_not_end_an_image_in_work(number):
    async with make_pool(workers=1) as pool:
        pid = await pool.run(do(codec_jobs.process_id), b"")
        os.kill(pid, number)
        assert await pool.run(do(codec_jobs.process_id), b"") == pid


async def test_a_caller_that_leaves_long_work_takes_the_worker_with_it_and_the_pool_heals(
    monkeypatch,
):
    monkeypatch.setattr("app.codec.pool._UNWANTED_SECONDS", 0.1)
    async with make_pool(workers=1) as pool:
        async with spinning(pool) as (task, pid):
            task.cancel()
            await until(lambda: not alive(pid))
        assert await pool.run(do(codec_jobs.length), b"four") == 4


async def test_short_work_that_nobody_waits_for_runs_to_its_end_and_costs_no_worker():
    async with make_pool(workers=1) as pool:
        pid = await pool.run(do(codec_jobs.process_id), b"")
        for _ in range(5):
            task = asyncio.create_task(pool.run(do(codec_jobs.work, seconds=0.2), b""))
            await until(lambda: any(each.busy for each in pool._workers.alive))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not any(each.busy for each in pool._workers.alive)
        assert await pool.run(do(codec_jobs.process_id), b"") == pid


async def test_an_image_that_is_refused_as_heavy_runs_again_as_heavy_work():
    async with make_pool(workers=1) as pool:
        assert await pool.run(do(codec_jobs.reluctant), b"") == "done"


async def test_heavy_images_never_have_all_workers():
    async with make_pool(workers=2) as pool:
        heavy = [
            asyncio.create_task(pool.run(do(codec_jobs.reluctant_spin), b"", "attacker"))
            for _ in range(2)
        ]
        await until(lambda: spinning_in(pool))
        # The second one was refused as heavy, and waits.
        await until(lambda: [turn.kind for turn in pool._shares.waiting()] == [Kind.HEAVY])
        for client in ["other", "attacker"]:
            assert await pool.run(do(codec_jobs.length), b"four", client) == 4
        for task in heavy:
            task.cancel()
        await asyncio.gather(*heavy, return_exceptions=True)


async def test_a_client_that_waits_in_vain_beyond_its_share_is_told_so():
    async with make_pool(workers=2, queue_seconds=0.1) as pool:
        pool._shares.charge("greedy", 60)
        async with spinning(pool):
            assert await pool.run(do(codec_jobs.length), b"four", "modest") == 4
            with pytest.raises(ShareExceededError) as refusal:
                await pool.run(do(codec_jobs.length), b"four", "greedy")
            assert refusal.value.status == 429
            busy = asyncio.create_task(pool.run(do(codec_jobs.work, seconds=1), b"", "modest"))
            await until(lambda: all(each.busy for each in pool._workers.alive))
            with pytest.raises(OverloadedError):
                await pool.run(do(codec_jobs.length), b"four", "modest")
            await busy


async def test_a_worker_that_is_lost_is_charged_to_the_client_of_its_image(monkeypatch):
    monkeypatch.setattr("app.codec.pool._UNWANTED_SECONDS", 0.0)
    charged = []
    async with make_pool(workers=1) as pool:
        charge = pool._shares.charge
        monkeypatch.setattr(
            pool._shares, "charge", lambda *given: (charged.append(given), charge(*given))
        )
        with pytest.raises(DecoderCrashedError):
            await pool.run(do(codec_jobs.crash), b"", "attacker")
        assert await pool.run(do(codec_jobs.length), b"four", "other") == 4
    # The time of the image itself, and that of the new worker.
    assert [name for name, _ in charged] == ["attacker", "attacker", "other"]
    assert all(seconds > 0 for _, seconds in charged)


async def test_an_answer_is_freed_with_its_last_user_and_not_by_a_collection(pool):
    task = Develop(ImageFormat.JPEG, ImageLimits(), Recipe())
    gc.collect()
    gc.disable()
    try:
        others = answers()  # other tests keep theirs
        await pool.run(task, images.jpeg())
        await asyncio.sleep(0)  # this step of the loop has the answer as well
        assert len(answers()) == len(others)
    finally:
        gc.enable()


def answers():
    return [each for each in gc.get_objects() if isinstance(each, Developed)]


async def test_a_caller_that_leaves_the_queue_costs_nothing():
    async with make_pool(workers=1) as pool:
        pid = await pool.run(do(codec_jobs.process_id), b"")
        busy = asyncio.create_task(pool.run(do(codec_jobs.work, seconds=0.1), b""))
        waiting = asyncio.create_task(pool.run(do(codec_jobs.length), b"four"))
        await asyncio.sleep(0)
        waiting.cancel()
        await busy
        assert await pool.run(do(codec_jobs.process_id), b"") == pid


async def test_stopping_ends_every_process_and_turns_every_caller_away():
    pool = make_pool(workers=1)
    await pool.start()
    async with spinning(pool) as (running, pid):
        queued = [asyncio.create_task(pool.run(do(codec_jobs.length), b"")) for _ in range(3)]
        await asyncio.sleep(0)
        started = time.monotonic()
        await pool.stop()
        assert time.monotonic() - started < 2
        assert not alive(pid)
        # A worker that ends its work just now must find nobody to go on with.
        assert pool._shares.waiting() == []
        outcomes = await asyncio.gather(running, *queued, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [NotReadyError] * 4
    with pytest.raises(NotReadyError):
        await pool.run(do(codec_jobs.length), b"")


async def test_a_pool_whose_workers_cannot_start_says_so():
    with pytest.raises(ConfigurationError, match="10,000,000 bytes"):
        await make_pool(memory_bytes=10_000_000).start()


async def test_a_pool_that_starts_in_part_leaves_no_process_behind(monkeypatch):
    ready, started = CodecProcess.ready, []

    async def second_fails(worker):
        started.append(worker._process.pid)
        is_second = len(started) == 2
        parts = await ready(worker)
        if is_second:
            raise EOFError
        return parts

    monkeypatch.setattr(CodecProcess, "ready", second_fails)
    with pytest.raises(ConfigurationError):
        await make_pool(workers=2).start()
    assert len(started) == 2
    assert not any(alive(pid) for pid in started)


GATEWAY = """
import asyncio, sys, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from tests.support.codec_pools import codec_jobs, do, make_pool, spinning_in, until

async def main():
    async with make_pool(workers=2, deadline_seconds=600) as pool:
        busy = asyncio.create_task(pool.run(do(codec_jobs.spin), b""))
        print(await until(lambda: spinning_in(pool)), flush=True)
        print(await pool.run(do(codec_jobs.process_id), b""), flush=True)
        await busy

asyncio.run(main())
"""


async def test_a_gateway_killed_for_good_leaves_no_worker_behind():
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY), stdout=asyncio.subprocess.PIPE
    )
    busy, idle = [int(await gateway.stdout.readline()) for _ in range(2)]
    assert alive(idle)
    assert alive(busy)
    gateway.kill()
    await gateway.wait()
    await until(lambda: not alive(idle) and not alive(busy))
