"""Wake-ups of the tails of a partition, when a commit of this process has appended to it.

Hides the asyncio events: one for each partition with a tail that waits, and none for the others.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.log import Position


class Wakeups:
    """The events that tails wait for between two reads."""

    def __init__(self) -> None:
        self._appended: dict[tuple[str, int], asyncio.Event] = {}

    def next(self, topic: str, partition: int) -> asyncio.Event:
        """Return the event that the next append sets; call it *before* a read, to miss none."""
        return self._appended.setdefault((topic, partition), asyncio.Event())

    def appended(self, topic: str, positions: Iterable[Position]) -> None:
        """Wake the tails of the partitions of these positions."""
        for partition in {position.partition for position in positions}:
            if waiting := self._appended.pop((topic, partition), None):
                waiting.set()

    def all(self) -> None:
        """Wake every tail."""
        for waiting in self._appended.values():
            waiting.set()


async def is_set(event: asyncio.Event, within_seconds: float) -> bool:
    """Wait for an event, within a bound, and tell whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            await event.wait()
    return event.is_set()
