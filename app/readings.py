"""Readings that several await at once: each is done once, for all who ask meanwhile.

Hides when one ends early: with the last of those who await it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

T = TypeVar("T")


@dataclass(slots=True)
class _Reading(Generic[T]):
    """A reading under way, and the number that wait for it."""

    task: asyncio.Task[T]
    waiting: int = 0


class Readings(Generic[T]):
    """The readings that run."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _Reading[T]] = {}

    async def once(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `read` returns, or the reading of this key that runs already.

        Its error is raised for all who wait for it.
        """
        if (reading := self._running.get(key)) is None:
            reading = self._running[key] = _Reading(asyncio.create_task(read()))
        reading.waiting += 1
        try:
            return await asyncio.shield(reading.task)
        finally:
            reading.waiting -= 1
            if not reading.waiting:
                reading.task.cancel()
                del self._running[key]
