"""As many codec workers as there are to be, each confined as required.

Hides how one is started and replaced: a fresh one takes the place of one that was killed, also
later, where the machine has no memory or no process for it now.

Pebble's pool was measured and not used: an idle worker that is killed breaks the whole pool for
good, a decoder that spins in C stalls every worker for 3 s, and all workers share one pipe and its
locks. `ProcessPoolExecutor` can neither kill one worker nor survive its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from app.codec.answer import ForeignAnswerError
from app.codec.process import CodecProcess
from app.codec.sandbox import Part
from app.codec.settings import Sandbox
from app.errors import ConfigurationError
from app.section import variable
from app.telemetry.metrics import CODEC_WORKERS_REPLACED

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.codec.process import Start

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

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
    DEADLINE = "deadline"  # it used more of a CPU than an image may
    ENDED = "ended"  # while it was idle, or it answered unasked
    LEFT = "left"  # the client left long work
    SLOW = "slow"  # the machine is busy, or it waited for something


class Workers:
    """Keeps `count` workers alive.

    Args:
        count: The number of processes.
        start: How each starts.
        required: Whether one that is not wholly confined may not be used.
        ready: Called with each one that has started.

    Attributes:
        alive: Those that have been started and not been killed.
        in_force: The parts of the sandbox that confine the newest one: all run on the same kernel.
    """

    def __init__(
        self,
        count: int,
        start: Start,
        *,
        required: bool,
        ready: Callable[[CodecProcess], None],
    ) -> None:
        self.alive: set[CodecProcess] = set()
        self.in_force: tuple[Part, ...] = ()
        self._count = count
        self._how = start
        self._required = required
        self._ready = ready
        self._replacing: set[asyncio.Task[None]] = set()

    @property
    def lacking(self) -> list[Part]:
        """The parts of the sandbox that do not confine the workers."""
        return [part for part in Part if part not in self.in_force]

    async def start(self) -> None:
        """Start all, and wait until each has loaded its codecs and is confined.

        Raises:
            ConfigurationError: A worker does not start, most likely for lack of memory, or is not
                confined as required.
        """
        try:
            async with asyncio.timeout(_START_SECONDS), asyncio.TaskGroup() as group:
                for _ in range(self._count):
                    group.create_task(self._spawn())
        except (TimeoutError, ExceptionGroup) as error:
            await self.stop()
            raise self._not_started(error) from error
        if self.lacking:
            logger.warning("codec_sandbox", in_force=self.in_force, lacking=self.lacking)
        else:
            logger.info("codec_sandbox", in_force=self.in_force)

    async def stop(self) -> None:
        """Kill all, and wait for their end; none may be replaced from now on."""
        for task in self._replacing:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.gather(*self._replacing, return_exceptions=True)
                await asyncio.gather(*(worker.kill() for worker in self.alive))

    def replace(
        self, worker: CodecProcess, reason: Reason, replaced: Callable[[float], None]
    ) -> None:
        """Kill a worker, and start another in the background.

        Args:
            worker: The worker.
            reason: Why it is replaced.
            replaced: Called with the seconds that it took, once it is done.
        """
        task = asyncio.create_task(self._replace(worker, reason, replaced))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replace(
        self, worker: CodecProcess, reason: Reason, replaced: Callable[[float], None]
    ) -> None:
        started = time.monotonic()
        exit_status = await worker.kill()
        self.alive.discard(worker)
        CODEC_WORKERS_REPLACED.labels(reason).inc()
        logger.warning(
            "codec_worker_replaced",
            reason=reason,
            exit_status=exit_status,
            **worker.context,
        )
        while True:
            # Even on a machine out of memory or processes, all are there again later.
            with contextlib.suppress(OSError, EOFError, ForeignAnswerError, ConfigurationError):
                await self._spawn()
                replaced(time.monotonic() - started)
                return
            await asyncio.sleep(_RESTART_PAUSE_SECONDS)

    async def _spawn(self) -> None:
        worker = await CodecProcess.spawn(self._how)
        self.alive.add(worker)
        try:
            self.in_force = await worker.ready()
            self._check_confinement()
        except BaseException:  # also when cancelled: no process may be left behind
            await worker.kill()
            self.alive.discard(worker)
            raise
        self._ready(worker)

    def _check_confinement(self) -> None:
        if self._required and self.lacking:
            raise ConfigurationError(
                f"{variable('imaging', 'sandbox')} is {Sandbox.REQUIRED}, and this kernel does not"
                f" confine codec workers by: {', '.join(self.lacking)}."
            )

    def _not_started(self, error: TimeoutError | ExceptionGroup[Exception]) -> ConfigurationError:
        if isinstance(error, ExceptionGroup):
            for each in error.exceptions:
                if isinstance(each, ConfigurationError):
                    return each
        memory = f"{self._how.memory_bytes:,} bytes of memory"
        return ConfigurationError(f"A codec worker does not start with {memory}.")
