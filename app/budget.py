"""A limit on the bytes of images in memory at once.

Hides the queue: first come, first served, within a bounded time.
"""

from __future__ import annotations

import asyncio
from collections import deque

from app.errors import OverloadedError

# A photo is stored in a fraction of a second: the budget frees itself quickly.
_RETRY_AFTER_SECONDS = 2


class Reservation:
    """A part of the budget, held until it is released."""

    def __init__(self, budget: ByteBudget, held_bytes: int) -> None:
        self._budget = budget
        self._bytes = held_bytes

    def shrink(self, needed_bytes: int) -> None:
        """Return all bytes but `needed_bytes` to the budget."""
        surplus = max(self._bytes - needed_bytes, 0)
        self._bytes -= surplus
        self._budget.put_back(surplus)

    def release(self, *_: object) -> None:
        """Return the rest; further calls do nothing. A future may have it as its callback."""
        self.shrink(0)


class ByteBudget:
    """A budget of `total_bytes`; a reservation waits for at most `patience_seconds`."""

    def __init__(self, total_bytes: int, patience_seconds: float) -> None:
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._patience_seconds = patience_seconds
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def reserve(self, needed_bytes: int) -> Reservation:
        """Reserve a part of the budget; a request for more than all of it gets all of it.

        Raises:
            OverloadedError: Too little of it became free in time.
        """
        needed_bytes = min(needed_bytes, self._total_bytes)
        if self._waiting or needed_bytes > self._free_bytes:
            await self._wait(needed_bytes)
        else:
            self._free_bytes -= needed_bytes
        return Reservation(self, needed_bytes)

    def put_back(self, freed_bytes: int) -> None:
        """Return bytes, and grant the waiting reservations that fit now."""
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
                self.put_back(needed_bytes)
            else:
                turn.cancel()
                self._waiting.remove(entry)
                # The next in the queue may fit now.
                self.put_back(0)
            if isinstance(error, TimeoutError):
                raise OverloadedError(
                    "Too many bytes are being processed at once.", _RETRY_AFTER_SECONDS
                ) from error
            raise
