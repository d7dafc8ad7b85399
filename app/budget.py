"""How many bytes of images may be in memory at once.

Hides the queue: who asks first is served first, and waits a moment at most.
"""

from __future__ import annotations

import asyncio
from collections import deque

from app.errors import OverloadedError

# A photo is through in a fraction of a second: the budget frees itself quickly.
_RETRY_AFTER_SECONDS = 2


class Reservation:
    """A part of the budget, held until it is released."""

    def __init__(self, budget: ByteBudget, held_bytes: int) -> None:
        self._budget = budget
        self._bytes = held_bytes

    def shrink(self, needed_bytes: int) -> None:
        """Give back what turned out not to be needed."""
        surplus = max(self._bytes - needed_bytes, 0)
        self._bytes -= surplus
        self._budget.give_back(surplus)

    def release(self, *_: object) -> None:
        """Give back the rest; further calls do nothing. It can be called back by a future."""
        self.shrink(0)


class ByteBudget:
    """`total_bytes` for all; a reservation waits for at most `patience_seconds`."""

    def __init__(self, total_bytes: int, patience_seconds: float) -> None:
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._patience_seconds = patience_seconds
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, needed_bytes: int) -> Reservation:
        """Take a part of the budget; an upload larger than all of it gets all of it.

        Raises:
            OverloadedError: The budget stayed spent.
        """
        needed_bytes = min(needed_bytes, self._total_bytes)
        if self._waiting or needed_bytes > self._free_bytes:
            await self._wait(needed_bytes)
        else:
            self._free_bytes -= needed_bytes
        return Reservation(self, needed_bytes)

    def give_back(self, freed_bytes: int) -> None:
        """Return bytes, and let in those who wait and now fit."""
        self._free_bytes += freed_bytes
        while self._waiting and self._waiting[0][0] <= self._free_bytes:
            needed_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self._free_bytes -= needed_bytes
                turn.set_result(None)

    async def _wait(self, needed_bytes: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (needed_bytes, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await asyncio.shield(turn)
        except BaseException as error:
            if turn.done():
                self.give_back(needed_bytes)
            else:
                turn.cancel()
                self._waiting.remove(entry)
                # Whoever stood behind may fit now.
                self.give_back(0)
            if isinstance(error, TimeoutError):
                raise OverloadedError(
                    "Too many bytes are in work at once.", _RETRY_AFTER_SECONDS
                ) from error
            raise
