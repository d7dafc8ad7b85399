"""Turns of those that wait for a part of something: the client that holds least is next.

Hides the two queues behind that: one of clients, by what they hold and then by who came first, and
one of each client's own, by age. Adding and finding the next take the logarithm of how many wait;
an entry that is outdated stays until it would be the next.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Generic, Protocol, TypeVar

# So many outdated entries are not worth a tidying.
_FEW = 64


class Waiter(Protocol):
    """Something of a client that waits at times."""

    @property
    def number(self) -> int:
        """Its age: an older one has a lower number."""
        ...

    @property
    def waits(self) -> bool:
        """Whether it waits now."""
        ...


W = TypeVar("W", bound=Waiter)


class Share(Generic[W]):
    """The part of one client: what it holds, and what of it waits."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.held_bytes = 0
        self.waiting = 0
        # Of its only entry among the clients that is not outdated.
        self.ticket: int | None = None
        self._queue: list[tuple[int, W]] = []
        self._queued: set[W] = set()

    def push(self, waiter: W) -> None:
        """Add one that waits from now on."""
        self.waiting += 1
        if waiter not in self._queued:
            self._queued.add(waiter)
            heapq.heappush(self._queue, (waiter.number, waiter))

    def oldest(self) -> W | None:
        """Return the oldest that waits."""
        while self._queue:
            waiter = self._queue[0][1]
            if waiter.waits:
                return waiter
            heapq.heappop(self._queue)
            self._queued.remove(waiter)
        return None


class Turns(Generic[W]):
    """The clients that wait, and who is next."""

    def __init__(self) -> None:
        self._queue: list[tuple[int, int, Share[W]]] = []
        self._tickets = count()
        self._clients = 0

    def add(self, share: Share[W], waiter: W) -> None:
        """Add one that waits from now on."""
        share.push(waiter)
        if share.ticket is None:
            self._clients += 1
            self._place(share)

    def moved(self, share: Share[W]) -> None:
        """Take notice of what a client holds now."""
        if share.ticket is not None:
            self._place(share)

    def next(self) -> W | None:
        """Return whose turn it is: the oldest of the client that holds least."""
        while self._queue:
            _, ticket, share = self._queue[0]
            if ticket == share.ticket:
                if (waiter := share.oldest()) is not None:
                    return waiter
                share.ticket = None
                self._clients -= 1
            heapq.heappop(self._queue)
        return None

    def _place(self, share: Share[W]) -> None:
        if len(self._queue) > 2 * self._clients + _FEW:
            self._queue = [entry for entry in self._queue if entry[1] == entry[2].ticket]
            heapq.heapify(self._queue)
        share.ticket = next(self._tickets)
        heapq.heappush(self._queue, (share.held_bytes, share.ticket, share))
