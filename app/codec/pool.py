"""Killable codec workers behind one awaitable `run`.

Each worker is a process of its own with a socket of its own, one image at a time. A deadline, a
crash, a lack of memory, an answer that is none of ours or a caller that leaves ends that one
process; a fresh one replaces it in the background.

Pebble's pool was measured and not used: an idle worker that is killed breaks the whole pool for
good, a decoder that spins in C stalls every worker for 3 s, and all workers share one pipe and its
locks. `ProcessPoolExecutor` can neither kill one worker nor survive its death.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeVar

import structlog

from app.codec.answer import ForeignAnswerError
from app.codec.process import CodecProcess, Start
from app.codec.sandbox import Part
from app.codec.settings import Sandbox
from app.errors import (
    ConfigurationError,
    DecoderCrashedError,
    DecodeTimeoutError,
    GatewayError,
    InternalError,
    NotReadyError,
    OverloadedError,
)
from app.section import variable
from app.telemetry.metrics import CODEC_WORKERS_REPLACED

if TYPE_CHECKING:
    from app.codec.tasks import Task

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")

# Starting takes 0.2 s; a machine that is busy with a roll-out may need far longer.
_START_SECONDS = 30

# Between attempts to replace a worker where even starting one fails.
_RESTART_PAUSE_SECONDS = 1

# SIGKILL takes milliseconds, but for a process that the kernel itself holds up.
_STOP_SECONDS = 5


class Reason(StrEnum):
    """Why a worker is replaced."""

    ANSWER = "answer"  # it answered what no worker of ours answers
    CRASHED = "crashed"  # it ended in the middle of an image
    DEADLINE = "deadline"
    ENDED = "ended"  # while it was idle, or it answered unasked
    LEFT = "left"  # the client left


class CodecPool:
    """Run tasks on image bytes in worker processes that can be killed.

    An asynchronous context manager; or call `start` and `stop`.

    Args:
        workers: Number of processes, so of images processed at once; further images wait.
        deadline_seconds: Time for one image, from when a worker begins it.
        start: How each worker starts.
        queue_seconds: Time that an image waits for a worker.
        required: Whether a worker that is not wholly confined may not be used.
    """

    def __init__(
        self,
        *,
        workers: int,
        deadline_seconds: float,
        start: Start,
        queue_seconds: float = 10.0,
        required: bool = False,
    ) -> None:
        self._workers = workers
        self._deadline_seconds = deadline_seconds
        self._how = start
        self._required = required
        self._queue_seconds = queue_seconds
        self._idle: asyncio.LifoQueue[CodecProcess | None] = asyncio.LifoQueue()
        self._alive: set[CodecProcess] = set()
        # The parts of the sandbox that confine the newest worker: all run on the same kernel.
        self.in_force: tuple[Part, ...] = ()
        self._replacing: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Start all workers, and wait until each has loaded its codecs and is confined.

        Raises:
            ConfigurationError: A worker does not start, most likely for lack of memory, or is not
                confined as required.
        """
        try:
            async with asyncio.timeout(_START_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._spawn())
        except (TimeoutError, ExceptionGroup) as error:
            await self.stop()
            raise self._not_started(error) from error
        self._log_sandbox()

    async def stop(self) -> None:
        """Kill all workers and wait for their end; waiting callers get `NotReadyError`."""
        self._stopping = True
        for task in self._replacing:
            task.cancel()
        self._idle.put_nowait(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*self._replacing, return_exceptions=True)
                await asyncio.gather(*(worker.kill() for worker in self._alive))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def run(self, task: Task[T], data: bytes) -> T:
        """Run a task in a worker, and return its result or raise its error.

        Cancelling kills the worker.

        Raises:
            DecodeTimeoutError: The deadline passed; the worker was killed.
            DecoderCrashedError: The worker died of this image.
            InternalError: The job raised something that is no `GatewayError`, or the answer is none
                of ours; then the worker was killed.
            NotReadyError: The pool stops.
            OverloadedError: No worker was free in time.
        """
        worker, reason = await self._await_turn(), Reason.LEFT
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await worker.ask(task, data)
        except TimeoutError as error:
            reason = Reason.DEADLINE
            raise DecodeTimeoutError(
                f"Processing the image took longer than {self._deadline_seconds:g} s."
            ) from error
        except (OSError, EOFError) as error:
            reason = Reason.CRASHED
            raise self._crash() from error
        except ForeignAnswerError as error:
            reason = Reason.ANSWER
            raise InternalError("A codec worker sent an answer that is not understood.") from error
        finally:
            self._release(worker, reason)

    async def _await_turn(self) -> CodecProcess:
        try:
            async with asyncio.timeout(self._queue_seconds):
                return await self._next_idle()
        except TimeoutError as error:
            raise OverloadedError("Too many images wait to be processed.") from error

    async def _next_idle(self) -> CodecProcess:
        while worker := await self._idle.get():
            if worker.idle:
                return worker
            self._release(worker, Reason.ENDED)
        self._idle.put_nowait(None)  # for the next in line
        raise NotReadyError("The gateway is stopping.")

    def _release(self, worker: CodecProcess, reason: Reason) -> None:
        """Make a worker available again, or replace one that was left in a task or has ended."""
        if worker.idle:
            self._idle.put_nowait(worker)
        elif not self._stopping:
            reason = reason if worker.busy else Reason.ENDED
            task = asyncio.create_task(self._replace(worker, reason))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    async def _replace(self, worker: CodecProcess, reason: Reason) -> None:
        exit_status = await worker.kill()
        self._alive.discard(worker)
        CODEC_WORKERS_REPLACED.labels(reason).inc()
        logger.warning(
            "codec_worker_replaced",
            reason=reason,
            exit_status=exit_status,
            **worker.context,
        )
        while True:
            # Even on a machine out of memory or processes, the pool returns to its size later.
            with contextlib.suppress(OSError, EOFError, ForeignAnswerError, ConfigurationError):
                return await self._spawn()
            await asyncio.sleep(_RESTART_PAUSE_SECONDS)

    async def _spawn(self) -> None:
        worker = await CodecProcess.spawn(self._how)
        self._alive.add(worker)
        try:
            self.in_force = await worker.ready()
            self._check_confinement()
        except BaseException:  # also when cancelled: no process may be left behind
            await worker.kill()
            self._alive.discard(worker)
            raise
        self._idle.put_nowait(worker)

    @property
    def lacking(self) -> list[Part]:
        """The parts of the sandbox that do not confine the workers."""
        return [part for part in Part if part not in self.in_force]

    def _check_confinement(self) -> None:
        if self._required and self.lacking:
            raise ConfigurationError(
                f"{variable('imaging', 'sandbox')} is {Sandbox.REQUIRED}, and this kernel does not"
                f" confine codec workers by: {', '.join(self.lacking)}."
            )

    def _log_sandbox(self) -> None:
        if self.lacking:
            logger.warning("codec_sandbox", in_force=self.in_force, lacking=self.lacking)
        else:
            logger.info("codec_sandbox", in_force=self.in_force)

    def _not_started(self, error: TimeoutError | ExceptionGroup[Exception]) -> ConfigurationError:
        if isinstance(error, ExceptionGroup):
            for each in error.exceptions:
                if isinstance(each, ConfigurationError):
                    return each
        memory = f"{self._how.memory_bytes:,} bytes of memory"
        return ConfigurationError(f"A codec worker does not start with {memory}.")

    def _crash(self) -> GatewayError:
        if self._stopping:
            return NotReadyError("The gateway is stopping.")
        return DecoderCrashedError("The decoder crashed on this image.")
