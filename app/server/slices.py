"""Slices of work that is too long for one go: one each time round the event loop.

Hides whose slice is next: clients take turns, and so do the connections of each, so that however
many have sent what takes long to parse, the event loop is held for one slice, and a client that
has sent little waits for one slice of each other client.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Slices:
    """The slices that wait."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()

    def add(self, client: str, work: Callable[[], None]) -> None:
        """Call `work` once, when it is this client's turn; it may add itself again."""
        if not self._clients:
            asyncio.get_running_loop().call_soon(self._next)
        self._clients.setdefault(client, deque()).append(work)

    def _next(self) -> None:
        client, waiting = self._clients.popitem(last=False)
        work = waiting.popleft()
        if waiting:
            self._clients[client] = waiting
        # Before the work, which may raise.
        if self._clients:
            asyncio.get_running_loop().call_soon(self._next)
        work()
