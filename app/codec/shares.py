"""Whose image a codec worker does next: clients share the workers by the seconds that they used.

Hides the queue of each client, and the memory of its use, which fades. Next is the client that used
least; of its images the oldest, one that is heavy for its bytes last. A worker is not preempted, so
the last free one is kept for images that end soon, of clients within their share: neither a heavy
image nor a client beyond its share gets it. A client that is alone has no share to exceed. Work for
downloads is on half of the workers at most, so that it never holds up uploads.

Weighted by use, not by turns, as in CFS: Documentation/scheduler/sched-design-CFS.rst of Linux.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.codec.tasks import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.codec.process import CodecProcess


# In this time a use fades to a third (1/e), and a client that uses nothing is forgotten. As long as
# an image may wait for a worker: what was before does not matter to those that wait.
_FADING_SECONDS = 10.0


@dataclass(eq=False, slots=True)
class Turn:
    """An image that waits for a worker, and then has one.

    Attributes:
        worker: Done when a worker is there, or the pool stops.
    """

    client: _Client
    kind: Kind
    number: int
    worker: asyncio.Future[CodecProcess]
    started: float = 0.0


@dataclass(eq=False, slots=True)
class _Client:
    """The use of the workers by one client, as of `at`, and its images that wait or run."""

    name: str
    at: float
    used_seconds: float = 0.0
    running: int = 0
    # The sum of the times at which those that run began.
    started: float = 0.0
    queues: dict[Kind, deque[Turn]] = field(
        default_factory=lambda: {kind: deque() for kind in Kind}
    )

    def seconds(self, now: float) -> float:
        """Return the worker seconds that it used lately, those of now included."""
        faded = self.used_seconds * math.exp((self.at - now) / _FADING_SECONDS)
        return faded + self.running * now - self.started

    def add(self, seconds: float, now: float) -> None:
        """Add to what it used."""
        self.used_seconds *= math.exp((self.at - now) / _FADING_SECONDS)
        self.used_seconds += seconds
        self.at = now

    @property
    def waits(self) -> bool:
        """Whether anything of it waits."""
        return any(self.queues.values())

    def firsts(self) -> Iterator[Turn]:
        """Yield the oldest that waits of each kind."""
        for queue in self.queues.values():
            if queue:
                yield queue[0]


class WorkerShares:
    """The shares of clients in so many workers.

    Args:
        workers: Their number.
        clock: Seconds that only grow.
    """

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers = workers
        self._clock = clock
        # Those that used a worker or waited for one lately, the last that did at the end.
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._waiting: dict[_Client, None] = {}
        self._count = 0
        self._downloads = 0

    def wait(self, name: str, kind: Kind) -> Turn:
        """Let an image of a client wait."""
        client = self._seen(name)
        self._count += 1
        turn = Turn(client, kind, self._count, asyncio.get_running_loop().create_future())
        client.queues[kind].append(turn)
        self._waiting[client] = None
        return turn

    def leave(self, turn: Turn) -> None:
        """Let an image wait no longer."""
        client = turn.client
        client.queues[turn.kind].remove(turn)
        if not client.waits:
            del self._waiting[client]

    def waiting(self) -> list[Turn]:
        """Return all images that wait."""
        queues = [queue for client in self._waiting for queue in client.queues.values()]
        return [turn for queue in queues for turn in queue]

    def next(self, free: int) -> Turn | None:
        """Return the image that gets one of so many free workers, if any may; its time begins."""
        now = self._clock()
        is_last = free == 1 < self._workers
        found = min(
            (
                (client.seconds(now), turn.kind.value, turn.number, turn)
                for client in self._waiting
                if not (is_last and self._exceeds(client, now))
                for turn in client.firsts()
                if self._may_run(turn.kind, is_last=is_last)
            ),
            default=None,
        )
        if found is None:
            return None
        turn = found[-1]
        self.leave(turn)
        turn.started = now
        turn.client.running += 1
        turn.client.started += now
        self._downloads += turn.kind is Kind.DOWNLOAD
        return turn

    def _may_run(self, kind: Kind, *, is_last: bool) -> bool:
        if kind is Kind.HEAVY:
            return not is_last
        return kind is Kind.UPLOAD or self._downloads < max(self._workers // 2, 1)

    def end(self, turn: Turn) -> float:
        """Count the time of an image that had a worker, and return it."""
        client, now = turn.client, self._clock()
        client.running -= 1
        self._downloads -= turn.kind is Kind.DOWNLOAD
        # Exactly 0 without any: differences of floats would add up.
        client.started = client.started - turn.started if client.running else 0.0
        self.charge(client.name, now - turn.started)
        return now - turn.started

    def charge(self, name: str, seconds: float) -> None:
        """Count worker seconds for a client."""
        self._seen(name).add(seconds, self._clock())

    def exceeds(self, turn: Turn) -> bool:
        """Tell whether the client of an image used more than its share."""
        return self._exceeds(turn.client, self._clock())

    def _exceeds(self, client: _Client, now: float) -> bool:
        self._forget(now)
        clients = len(self._clients)
        share = self._workers * _FADING_SECONDS / max(clients, 1)
        return clients > 1 and client.seconds(now) > share

    def _seen(self, name: str) -> _Client:
        now = self._clock()
        self._forget(now)
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(name, now)
        client.add(0.0, now)
        self._clients.move_to_end(name)
        return client

    def _forget(self, now: float) -> None:
        """Forget clients that have long used nothing."""
        while self._clients:
            client = next(iter(self._clients.values()))
            if client.running or client.waits or now - client.at < _FADING_SECONDS:
                return
            del self._clients[client.name]
