"""Work that is done again and again in the background, and sooner where somebody asks for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Repeating:
    """Calls `work` between `start` and `stop`.

    Args:
        work: Raises nothing: that would be its end.
        name: Of the task.
        period_seconds: How long it is left alone.
        rest_seconds: Between two calls, however often it is asked for.
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
        """Begin, in the background."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Do it no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def ask(self) -> None:
        """Ask for it to be done soon."""
        self._asked.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._asked.wait()
            self._asked.clear()
            await self._work()
            await asyncio.sleep(self._rest_seconds)
