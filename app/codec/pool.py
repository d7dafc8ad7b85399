"""Killable codec workers behind one awaitable `run`.

Each worker is a process of its own with a socket of its own, one image at a time. A deadline, a
crash, a lack of memory, an answer that is none of ours or a caller that leaves long work ends that
one process; another replaces it in the background (`workers`), at the cost of the client with that
image.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from app.client import NOBODY
from app.codec.answer import ForeignAnswerError
from app.codec.deadline import deadline
from app.codec.shares import Turn, WorkerShares
from app.codec.tasks import Kind
from app.codec.workers import Reason, Workers
from app.errors import (
    DecoderCrashedError,
    DecodeTimeoutError,
    GatewayError,
    HeavyImageError,
    InternalError,
    NotReadyError,
    OverloadedError,
    ShareExceededError,
)

if TYPE_CHECKING:
    from app.codec.process import CodecProcess, Start
    from app.codec.sandbox import Part
    from app.codec.tasks import Task
    from app.limits.meters import WorkerTime

T = TypeVar("T")

# How long work goes on that nobody waits for. A new worker costs 0.2 s of CPU, most images less:
# 4.7 clients a second that left after 30 ms burned 17 s of CPU in 25 s on new workers.
_UNWANTED_SECONDS = 2.0

# Until workers become free: most images take a fraction of it.
_RETRY_AFTER_SECONDS = 2


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
        self._workers = Workers(workers, start, required=required, ready=self._add)
        self._allowance = allowance
        self._shares = WorkerShares(workers)
        self._deadline_seconds = deadline_seconds
        self._queue_seconds = queue_seconds
        # The last one is the next: its memory is in the caches of the CPU.
        self._idle: list[CodecProcess] = []
        self._stopping = False

    async def start(self) -> None:
        """Start all workers, and wait until each has loaded its codecs and is confined.

        Raises:
            ConfigurationError: A worker does not start, most likely for lack of memory, or is not
                confined as required.
        """
        await self._workers.start()

    async def stop(self) -> None:
        """Kill all workers and wait for their end; waiting callers get `NotReadyError`."""
        self._stopping = True
        for turn in self._shares.waiting():
            self._shares.leave(turn)
            turn.worker.set_exception(NotReadyError("The gateway is stopping."))
        await self._workers.stop()

    @property
    def in_force(self) -> tuple[Part, ...]:
        """The parts of the sandbox that confine the workers."""
        return self._workers.in_force

    @property
    def lacking(self) -> list[Part]:
        """The parts of the sandbox that do not."""
        return self._workers.lacking

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
        if turn.worker.done():
            return turn
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
            self._add(worker)
        elif not self._stopping:
            reason = reason if worker.busy else Reason.ENDED
            self._workers.replace(worker, reason, partial(self._charge, client))

    def _charge(self, client: str, seconds: float) -> None:
        """Count the time for another worker as time of the client whose image ended the last."""
        self._shares.charge(client, seconds)
        self._count(client, seconds)

    def _add(self, worker: CodecProcess) -> None:
        self._idle.append(worker)
        self._grant()

    def _crash(self) -> GatewayError:
        if self._stopping:
            return NotReadyError("The gateway is stopping.")
        return DecoderCrashedError("The decoder crashed on this image.")
