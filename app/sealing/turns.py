"""Turns to ask a service that may be slow, such as Vault.

Hides how those who wait are bounded: in number, and in time. Without that, each client that comes
to a slow service waits longer than the one before.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_AT_ONCE, _MAX_WAITING = 16, 200
# A client has its answer after this and the time of a request, however slow the service is.
_MAX_WAIT_SECONDS = 2.0


class CrowdedError(Exception):
    """There is no turn: too many wait, or this one has waited for too long."""


class Turns:
    """A bounded number of requests at once."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def take(self) -> AsyncGenerator[None, None]:
        """Wait for a turn, and give it back at the end.

        Raises:
            CrowdedError: There is none; nothing was asked.
        """
        if self._waiting >= _MAX_WAITING:
            raise CrowdedError("too many wait for it")
        self._waiting += 1
        try:
            async with asyncio.timeout(_MAX_WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise CrowdedError("others came first") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()
