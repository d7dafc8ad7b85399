"""The time that a worker may take for one image: of a CPU, and by the clock.

Only the time of a CPU says something of the image: by the clock, a sound one takes several times as
long on a busy machine. So the clock ends a turn late, and for a reason that passes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.errors import DecodeTimeoutError, OverloadedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# By the clock, as a multiple of the time of a CPU.
_PATIENCE = 3

# Between looks at a worker that is just short of its time.
_LEAST_SECONDS = 0.02

_RETRY_AFTER_SECONDS = 5


@asynccontextmanager
async def deadline(cpu_seconds: Callable[[], float], seconds: float) -> AsyncIterator[None]:
    """End what is awaited inside when a worker has used its time.

    Args:
        cpu_seconds: Tells the time of a CPU that the worker has used.
        seconds: How much more it may use.

    Raises:
        DecodeTimeoutError: It has used more.
        OverloadedError: It has not, after several times as long by the clock.
    """
    watch = _Watch(cpu_seconds, seconds)
    try:
        async with watch.timeout:
            watch.start()
            yield
    except TimeoutError as error:
        if not watch.timeout.expired():
            raise
        if watch.left_seconds() <= 0:
            raise DecodeTimeoutError(
                f"Processing the image took more than {seconds:g} s of a CPU."
            ) from error
        raise OverloadedError(
            f"Processing the image took over {_PATIENCE * seconds:g} s: the machine is busy.",
            _RETRY_AFTER_SECONDS,
        ) from error
    finally:
        watch.stop()


class _Watch:
    """Looks at the time that a worker has left, and ends `timeout` when that is none.

    A function that calls itself later is a circle, and kept the task that it ended, with the image
    in its result, until a full collection: 40 to 110 MB after uploads of up to 15 MB, 8 at once.
    """

    _timer: asyncio.TimerHandle

    def __init__(self, cpu_seconds: Callable[[], float], seconds: float) -> None:
        self._cpu_seconds = cpu_seconds
        self._seconds = seconds
        self._end = cpu_seconds() + seconds
        self._loop = asyncio.get_running_loop()
        self.timeout = asyncio.timeout(_PATIENCE * seconds)

    def start(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def left_seconds(self) -> float:
        return self._end - self._cpu_seconds()

    def _look(self) -> None:
        if (left := self.left_seconds()) > 0:
            self._timer = self._loop.call_later(max(left, _LEAST_SECONDS), self._look)
        else:
            self.timeout.reschedule(self._loop.time())
