"""Waking the tails of a partition when a commit of this process has appended to it.

Hides the events behind it: one a partition that somebody waits for, and none for the others.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.log import Position


class Wakeups:
    """Tails wait here between two reads."""

    def __init__(self) -> None:
        self._appended: dict[tuple[str, int], asyncio.Event] = {}

    def next(self, topic: str, partition: int) -> asyncio.Event:
        """Return what the next append sets; take it *before* a read, so that none is missed."""
        return self._appended.setdefault((topic, partition), asyncio.Event())

    def appended(self, topic: str, positions: Iterable[Position]) -> None:
        """Wake those who wait for the partitions of these positions."""
        for partition in {position.partition for position in positions}:
            if waiting := self._appended.pop((topic, partition), None):
                waiting.set()

    def all(self) -> None:
        """Wake everyone."""
        for waiting in self._appended.values():
            waiting.set()


async def is_set(event: asyncio.Event, within_seconds: float) -> bool:
    """Wait so long at most for an event, and tell whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            await event.wait()
    return event.is_set()
