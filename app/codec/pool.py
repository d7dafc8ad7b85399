"""Killable codec workers behind one awaitable `run`.

Each worker is a process of its own with a socket of its own, one image at a time. A deadline, a
crash, a lack of memory or a caller that leaves ends that one process; a fresh one replaces it in
the background.

Pebble's pool was measured and not used: an idle worker that is killed breaks the whole pool for
good, a decoder that spins in C stalls every worker for 3 s, and all workers share one pipe and its
locks. `ProcessPoolExecutor` can neither kill one worker nor survive its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar, cast

from app.codec.process import CodecProcess
from app.errors import (
    ConfigurationError,
    DecoderCrashedError,
    DecodeTimeoutError,
    GatewayError,
    InternalError,
    NotReadyError,
    OverloadedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

# Starting takes 0.2 s; a machine that is busy with a roll-out may need far longer.
_START_SECONDS = 30

# Between attempts to replace a worker where even starting one fails.
_RESTART_PAUSE_SECONDS = 1

# SIGKILL takes milliseconds, but for a process that the kernel itself holds up.
_STOP_SECONDS = 5


class WorkerTraceback(Exception):  # noqa: N818  # a cause to be printed, never raised
    """The place in the worker where an exception was raised."""


class CodecPool:
    """Run functions on image bytes in worker processes that can be killed.

    An asynchronous context manager; or call `start` and `stop`.

    Args:
        workers: Number of processes, so of images processed at once; further images wait.
        deadline_seconds: Time for one image, from when a worker begins it.
        memory_bytes: Address space of each worker (RLIMIT_AS).
        queue_seconds: Time that an image waits for a worker.
    """

    def __init__(
        self,
        *,
        workers: int,
        deadline_seconds: float,
        memory_bytes: int,
        queue_seconds: float = 10.0,
    ) -> None:
        self._workers = workers
        self._deadline_seconds = deadline_seconds
        self._memory_bytes = memory_bytes
        self._queue_seconds = queue_seconds
        self._idle: asyncio.LifoQueue[CodecProcess | None] = asyncio.LifoQueue()
        self._alive: set[CodecProcess] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Start all workers, and wait until each has loaded its codecs.

        Raises:
            ConfigurationError: A worker does not start; most likely it has too little memory.
        """
        try:
            async with asyncio.timeout(_START_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._spawn())
        except (TimeoutError, ExceptionGroup) as error:
            await self.stop()
            raise ConfigurationError(
                f"A codec worker does not start with {self._memory_bytes:,} bytes of memory."
            ) from error

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

    async def run(
        self,
        function: Callable[Concatenate[bytes, P], T],
        data: bytes,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `function(data, ...)` in a worker, and return its result or raise its error.

        Cancelling kills the worker. The function is found by its name; its further arguments are
        pickled, and its result consists of built-in types and of data classes of `app.imaging`.

        Raises:
            DecodeTimeoutError: The deadline passed; the worker was killed.
            DecoderCrashedError: The worker died of this image.
            InternalError: The function raised something that is no `GatewayError`.
            NotReadyError: The pool stops.
            OverloadedError: No worker was free in time.
        """
        worker = await self._await_turn()
        try:
            async with asyncio.timeout(self._deadline_seconds):
                outcome = await worker.ask((function, args, kwargs), data)
        except TimeoutError as error:
            raise DecodeTimeoutError(
                f"Processing the image took longer than {self._deadline_seconds:g} s."
            ) from error
        except (OSError, EOFError) as error:
            raise self._crash() from error
        except pickle.UnpicklingError as error:
            raise InternalError("A codec worker sent an answer that is not understood.") from error
        finally:
            self._release(worker)
        if isinstance(outcome.result, GatewayError):
            raise outcome.result from WorkerTraceback(outcome.trace)
        return cast("T", outcome.result)

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
            self._release(worker)
        self._idle.put_nowait(None)  # for the next in line
        raise NotReadyError("The gateway is stopping.")

    def _release(self, worker: CodecProcess) -> None:
        """Make a worker available again, or replace one that was left in a task."""
        if worker.idle:
            self._idle.put_nowait(worker)
        elif not self._stopping:
            task = asyncio.create_task(self._replace(worker))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)

    async def _replace(self, worker: CodecProcess) -> None:
        await worker.kill()
        self._alive.discard(worker)
        while True:
            # Even on a machine out of memory or processes, the pool returns to its size later.
            with contextlib.suppress(OSError, EOFError):
                return await self._spawn()
            await asyncio.sleep(_RESTART_PAUSE_SECONDS)

    async def _spawn(self) -> None:
        worker = await CodecProcess.spawn(self._memory_bytes)
        self._alive.add(worker)
        try:
            await worker.ready()
        except BaseException:  # also when cancelled: no process may be left behind
            await worker.kill()
            self._alive.discard(worker)
            raise
        self._idle.put_nowait(worker)

    def _crash(self) -> GatewayError:
        if self._stopping:
            return NotReadyError("The gateway is stopping.")
        return DecoderCrashedError("The decoder crashed on this image.")
