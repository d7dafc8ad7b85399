"""Slices of work: one each time round the event loop.

Hides whose slice is next: clients take turns, and so do the connections of each. However many have
sent requests at once, or what takes long to parse, the event loop is held for one slice, and a
client that has sent little waits for one slice of each other client.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


# Times round the loop that a slice gives way to connections being accepted, one each time.
_ACCEPTED_FIRST = 8


class Slices:
    """The slices that wait."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        # Nothing more begins before `_next`, which is scheduled.
        self._is_taken = False
        self._gives_way = False
        self._given_way = 0

    def take(self) -> bool:
        """Take the slice of this time round the loop; tell whether it was free."""
        if self._is_taken:
            return False
        self._schedule()
        return True

    def give_way(self) -> None:
        """Let the next connection be accepted before the next slice: its client may have none."""
        self._gives_way = True
        self._schedule()

    def add(self, client: str, work: Callable[[], None]) -> None:
        """Call `work` once, when it is this client's turn; it may add itself again."""
        self._clients.setdefault(client, deque()).append(work)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_taken:
            self._is_taken = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_taken = False
        if not self._clients:
            self._gives_way, self._given_way = False, 0
            return
        # Before the work, which may raise.
        self._schedule()
        if self._gives_way and self._given_way < _ACCEPTED_FIRST:
            self._gives_way = False
            self._given_way += 1
            return
        self._gives_way, self._given_way = False, 0
        client, waiting = self._clients.popitem(last=False)
        work = waiting.popleft()
        if waiting:
            self._clients[client] = waiting
        work()
