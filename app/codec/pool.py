"""Killable codec workers behind one awaitable `run`.

Each worker is a process of its own with a socket of its own, one image at a time. A deadline, a
crash, a lack of memory, an answer that is none of ours or a caller that leaves long work ends that
one process; a fresh one replaces it in the background, at the cost of the client with that image.

Pebble's pool was measured and not used: an idle worker that is killed breaks the whole pool for
good, a decoder that spins in C stalls every worker for 3 s, and all workers share one pipe and its
locks. `ProcessPoolExecutor` can neither kill one worker nor survive its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeVar

import structlog

from app.client import NOBODY
from app.codec.answer import ForeignAnswerError
from app.codec.deadline import deadline
from app.codec.process import CodecProcess, Start
from app.codec.sandbox import Part
from app.codec.settings import Sandbox
from app.codec.shares import Turn, WorkerShares
from app.codec.tasks import Kind
from app.errors import (
    ConfigurationError,
    DecoderCrashedError,
    DecodeTimeoutError,
    GatewayError,
    HeavyImageError,
    InternalError,
    NotReadyError,
    OverloadedError,
    ShareExceededError,
)
from app.section import variable
from app.telemetry.metrics import CODEC_WORKERS_REPLACED

if TYPE_CHECKING:
    from app.codec.tasks import Task
    from app.limits.meters import WorkerTime

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")

# Starting takes 0.2 s; a machine that is busy with a roll-out may need far longer.
_START_SECONDS = 30

# Between attempts to replace a worker where even starting one fails.
_RESTART_PAUSE_SECONDS = 1

# SIGKILL takes milliseconds, but for a process that the kernel itself holds up.
_STOP_SECONDS = 5

# How long work goes on that nobody waits for. A new worker costs 0.2 s of CPU, most images less:
# 4.7 clients a second that left after 30 ms burned 17 s of CPU in 25 s on new workers.
_UNWANTED_SECONDS = 2.0

# Until workers become free: most images take a fraction of it.
_RETRY_AFTER_SECONDS = 2


class Reason(StrEnum):
    """Why a worker is replaced."""

    ANSWER = "answer"  # it answered what no worker of ours answers
    CRASHED = "crashed"  # it ended in the middle of an image
    DEADLINE = "deadline"  # it used more of a CPU than an image may
    ENDED = "ended"  # while it was idle, or it answered unasked
    LEFT = "left"  # the client left long work
    SLOW = "slow"  # the machine is busy, or it waited for something


class CodecPool:
    """Run tasks on image bytes in worker processes that can be killed.

    An asynchronous context manager; or call `start` and `stop`.

    Args:
        workers: Number of processes, so of images processed at once; further images wait.
        deadline_seconds: Time of a CPU for one image; by the clock it may take three times as long.
        start: How each worker starts.
        queue_seconds: Time that an image waits for a worker.
        required: Whether a worker that is not wholly confined may not be used.
        allowance: How much time of workers clients may use.
    """

    def __init__(
        self,
        *,
        workers: int,
        deadline_seconds: float,
        start: Start,
        queue_seconds: float = 10.0,
        required: bool = False,
        allowance: WorkerTime | None = None,
    ) -> None:
        self._workers = workers
        self._allowance = allowance
        self._shares = WorkerShares(workers)
        self._deadline_seconds = deadline_seconds
        self._how = start
        self._required = required
        self._queue_seconds = queue_seconds
        # The last one is the next: its memory is in the caches of the CPU.
        self._idle: list[CodecProcess] = []
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
        for turn in self._shares.waiting():
            self._shares.leave(turn)
            turn.worker.set_exception(NotReadyError("The gateway is stopping."))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*self._replacing, return_exceptions=True)
                await asyncio.gather(*(worker.kill() for worker in self._alive))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def run(
        self,
        task: Task[T],
        data: bytes,
        client: str = NOBODY,
        *,
        seconds: float | None = None,
        let_in: bool = False,
    ) -> T:
        """Run a task in a worker, and return its result or raise its error.

        Where the caller is cancelled, it waits for two seconds until the task ends; then the worker
        is killed.

        Args:
            task: The task.
            data: The image.
            client: Whose share of the workers it takes, as `app.client` names it.
            seconds: Time of a CPU for it, if not the one for an image.
            let_in: Whether it belongs to work that the client's limits have let in.

        Raises:
            DecodeTimeoutError: The worker used more of a CPU than allowed, and was killed.
            DecoderCrashedError: The worker died of this image.
            InternalError: The job raised something that is no `GatewayError`, or the answer is none
                of ours; then the worker was killed.
            NotReadyError: The pool stops.
            OverloadedError: No worker was free in time; or it took too long by the clock, and was
                killed.
            RateLimitedError: The client is at its limit of workers' time.
            ShareExceededError: None was, and this client used more than its share.
        """
        if self._allowance is not None and client != NOBODY and not let_in:
            self._allowance.require()
        until = asyncio.get_running_loop().time() + self._queue_seconds
        seconds = self._deadline_seconds if seconds is None else seconds
        try:
            turn = await self._await_turn(client, until, task.kind)
            return await self._run(task, data, turn, seconds)
        except HeavyImageError:
            turn = await self._await_turn(client, until, Kind.HEAVY)
            return await self._run(task.when_heavy(), data, turn, seconds)

    async def _run(self, task: Task[T], data: bytes, turn: Turn, seconds: float) -> T:
        work = asyncio.create_task(self._work(task, data, turn, seconds))
        try:
            return await asyncio.shield(work)
        finally:
            if not work.done():
                try:
                    await asyncio.wait({work}, timeout=_UNWANTED_SECONDS)
                finally:
                    work.cancel()

    async def _work(self, task: Task[T], data: bytes, turn: Turn, seconds: float) -> T:
        worker, reason = turn.worker.result(), Reason.LEFT
        try:
            async with deadline(worker.cpu_seconds, seconds):
                return await worker.ask(task, data)
        except DecodeTimeoutError:
            reason = Reason.DEADLINE
            raise
        except OverloadedError:
            reason = Reason.SLOW
            raise
        except (OSError, EOFError) as error:
            reason = Reason.CRASHED
            raise self._crash() from error
        except ForeignAnswerError as error:
            reason = Reason.ANSWER
            raise InternalError("A codec worker sent an answer that is not understood.") from error
        finally:
            self._count(turn.client.name, self._shares.end(turn))
            self._release(worker, reason, turn.client.name)

    def _count(self, client: str, seconds: float) -> None:
        if self._allowance is not None and client != NOBODY:
            self._allowance.use(seconds)

    async def _await_turn(self, client: str, until: float, kind: Kind) -> Turn:
        if self._stopping:
            raise NotReadyError("The gateway is stopping.")
        turn = self._shares.wait(client, kind)
        self._grant()
        try:
            async with asyncio.timeout_at(until):
                # Whoever leaves does not cancel the future that a worker is about to be put into.
                await asyncio.shield(turn.worker)
        except TimeoutError as error:
            self._give_up(turn)
            raise self._refusal(turn) from error
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        return turn

    def _give_up(self, turn: Turn) -> None:
        if not turn.worker.done():
            self._shares.leave(turn)
        elif not turn.worker.exception():
            self._count(turn.client.name, self._shares.end(turn))
            self._release(turn.worker.result(), Reason.LEFT, turn.client.name)

    def _grant(self) -> None:
        """Give idle workers to those whose turn it is."""
        while self._idle:
            worker = self._idle.pop()
            if not worker.idle:
                self._release(worker, Reason.ENDED)
            elif turn := self._shares.next(len(self._idle) + 1):
                turn.worker.set_result(worker)
            else:
                self._idle.append(worker)
                return

    def _refusal(self, turn: Turn) -> GatewayError:
        if self._shares.exceeds(turn):
            return ShareExceededError(
                "This client has used more than its share of the time to process images.",
                _RETRY_AFTER_SECONDS,
            )
        return OverloadedError("Too many images wait to be processed.", _RETRY_AFTER_SECONDS)

    def _release(self, worker: CodecProcess, reason: Reason, client: str = NOBODY) -> None:
        """Make a worker available again, or replace one that was left in a task or has ended."""
        if worker.idle:
            self._idle.append(worker)
            self._grant()
        elif not self._stopping:
            reason = reason if worker.busy else Reason.ENDED
            task = asyncio.create_task(self._replace(worker, reason, client))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    async def _replace(self, worker: CodecProcess, reason: Reason, client: str) -> None:
        started = time.monotonic()
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
                await self._spawn()
                seconds = time.monotonic() - started
                self._shares.charge(client, seconds)
                self._count(client, seconds)
                return
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
        self._idle.append(worker)
        self._grant()

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
