"""What an operator sees of the workers: why one was replaced, and what its libraries said."""

import os
import signal

import pytest
from prometheus_client import REGISTRY
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from app.codec.workers import Reason
from app.errors import DecoderCrashedError, DecodeTimeoutError, InternalError, OverloadedError
from tests.support import codec_jobs
from tests.support.codec_jobs import do
from tests.support.codec_pools import make_pool, spinning, until


@pytest.fixture
async def pool():
    async with make_pool(workers=1) as pool:
        yield pool


class TestReplaced:
    """A worker that is replaced, and why, is a log event and a metric."""

    @pytest.mark.parametrize(
        ("reason", "task", "data", "error", "exit_status"),
        [
            (Reason.ANSWER, do(codec_jobs.raw), b"x" * 100, InternalError, -signal.SIGKILL),
            (Reason.CRASHED, do(codec_jobs.crash), b"", DecoderCrashedError, -signal.SIGSEGV),
            (Reason.DEADLINE, do(codec_jobs.spin), b"", DecodeTimeoutError, -signal.SIGKILL),
        ],
    )
    async def test_why_a_worker_was_replaced(self, reason, task, data, error, exit_status):
        before = count(reason)
        async with make_pool(workers=1, deadline_seconds=1) as pool:
            with capture_logs() as lines, bound_contextvars(request_id="r1"):
                with pytest.raises(error):
                    await pool.run(task, data)
                assert await pool.run(do(codec_jobs.length), b"four") == 4
        [line] = [line for line in lines if line["event"] == "codec_worker_replaced"]
        assert (line["reason"], line["exit_status"]) == (reason, exit_status)
        assert line["request_id"] == "r1"
        assert count(reason) == before + 1

    async def test_a_caller_that_left_and_a_worker_that_ended_while_idle(self, monkeypatch):
        monkeypatch.setattr("app.codec.pool._UNWANTED_SECONDS", 0.1)
        before = {reason: count(reason) for reason in (Reason.LEFT, Reason.ENDED)}
        async with make_pool(workers=1) as pool:
            async with spinning(pool) as (task, _):
                task.cancel()
                await until(task.done)
            os.kill(await pool.run(do(codec_jobs.process_id), b""), signal.SIGKILL)
            await until(lambda: not any(each.idle for each in pool._workers.alive))
            assert await pool.run(do(codec_jobs.length), b"four") == 4
        assert {reason: count(reason) - before[reason] for reason in before} == {
            Reason.LEFT: 1,
            Reason.ENDED: 1,
        }


def count(reason):
    name = "imagegate_codec_workers_replaced_total"
    return REGISTRY.get_sample_value(name, {"reason": reason}) or 0


class TestSaid:
    """Text of a worker's libraries becomes events of the log."""

    async def said(self, pool, task):
        with capture_logs() as lines, bound_contextvars(request_id="r1"):
            await pool.run(task, b"")
            await pool.run(do(codec_jobs.length), b"")
        return [line for line in lines if line["event"] == "codec_worker_said"]

    async def test_it_is_one_event_with_the_request_it_belongs_to(self, pool):
        text = "libtiff: bad tag\nlibjpeg: \x1b[2Jsecond line\n"
        assert await self.said(pool, do(codec_jobs.say, text=text)) == [
            {
                "event": "codec_worker_said",
                "log_level": "warning",
                "task": "say",
                "text": "libtiff: bad tag libjpeg:  [2Jsecond line",
                "request_id": "r1",
            }
        ]

    async def test_a_warning_of_python_is_one(self, pool):
        [line] = await self.said(pool, do(codec_jobs.warn))
        assert "a codec is old" in line["text"]

    async def test_a_flood_is_cut_and_holds_nobody_up(self, pool):
        [line] = await self.said(pool, do(codec_jobs.say, text="x", times=1_000_000))
        assert line["text"] == "x" * 2_000

    async def test_a_worker_that_talks_without_end_is_given_up(self):
        before = count(Reason.SLOW)
        async with make_pool(workers=1, deadline_seconds=0.3) as pool:
            task = do(codec_jobs.say, text="x", times=30_000_000)
            with pytest.raises(OverloadedError):
                await pool.run(task, b"")
            assert await pool.run(do(codec_jobs.length), b"four") == 4
        assert count(Reason.SLOW) == before + 1

    async def test_what_is_said_between_two_images_belongs_to_neither(self, pool):
        with capture_logs() as lines:
            with bound_contextvars(request_id="r1"):
                await pool.run(do(codec_jobs.say_later, text="late"), b"")
            [said] = [each._said for each in pool._workers.alive]
            await until(lambda: said._read_bytes)
            with bound_contextvars(request_id="r2"):
                await pool.run(do(codec_jobs.length), b"")
        [line] = [line for line in lines if line["event"] == "codec_worker_said"]
        assert (line["text"], line["task"], "request_id" in line) == ("late", "none", False)

    async def test_the_last_words_of_a_worker_are_logged(self):
        async with make_pool(workers=1) as pool:
            code = "os.write(2, b'corrupted double-linked list'); os._exit(1)"
            with capture_logs() as lines:
                with pytest.raises(DecoderCrashedError):
                    await pool.run(do(codec_jobs.attempt, code=code), b"")
                await pool.run(do(codec_jobs.length), b"")
        [line] = [line for line in lines if line["event"] == "codec_worker_said"]
        assert line["text"] == "corrupted double-linked list"
