"""The end of the events, requested from the log once for all who ask at the same time.

Hides that those who ask while a request runs share the next one: the answer must not be older than
the question. So any number of clients that ask for unknown images cause one request at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.log import EVENTS

if TYPE_CHECKING:
    from app.log import ReadableLog


class EventsEnd:
    """Asks `log` for the end of the events."""

    def __init__(self, log: ReadableLog) -> None:
        self._log = log
        self._running: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def ask(self) -> int:
        """Return the offset behind the last event that was in the log at the time of the call.

        Raises:
            LogUnavailableError: The log did not answer.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._request(self._running))
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    async def _request(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._next = self._next, None
        return (await self._log.bounds(EVENTS, 0)).end


def _retrieve(task: asyncio.Task[int]) -> None:
    """Look at the outcome: those who asked may all have left."""
    if not task.cancelled():
        task.exception()
