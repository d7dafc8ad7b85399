"""A job that runs in the background periodically, and sooner on request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class BackgroundJob:
    """Calls `work` periodically between `start` and `stop`.

    Args:
        work: The job. It must not raise, as an exception would end the loop.
        name: Name of the task.
        period_seconds: Time between two calls without a request.
        rest_seconds: Time between two calls however often `ask` is called.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[None]],
        name: str,
        period_seconds: float,
        rest_seconds: float,
    ) -> None:
        self._work = work
        self._name = name
        self._period_seconds = period_seconds
        self._rest_seconds = rest_seconds
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the loop; the first call comes after a period, or soon after `ask`."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Cancel the loop, and wait until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def ask(self) -> None:
        """Request a call soon."""
        self._asked.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._asked.wait()
            self._asked.clear()
            await self._work()
            await asyncio.sleep(self._rest_seconds)
