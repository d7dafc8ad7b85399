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
    loop = asyncio.get_running_loop()
    end = cpu_seconds() + seconds
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        left = end - cpu_seconds()
        if left > 0:
            timer = loop.call_later(max(left, _LEAST_SECONDS), look)
        else:
            timeout.reschedule(loop.time())

    timer = loop.call_later(seconds, look)
    try:
        async with asyncio.timeout(_PATIENCE * seconds) as timeout:
            yield
    except TimeoutError as error:
        if not timeout.expired():
            raise
        if cpu_seconds() >= end:
            raise DecodeTimeoutError(
                f"Processing the image took more than {seconds:g} s of a CPU."
            ) from error
        raise OverloadedError(
            f"Processing the image took over {_PATIENCE * seconds:g} s: the machine is busy.",
            _RETRY_AFTER_SECONDS,
        ) from error
    finally:
        timer.cancel()
