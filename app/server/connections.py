"""All connections of the process, and which of them gives way when there are too many.

Hides the choice. A new connection beyond the limit closes, in this order,

1. the one that has been without a request for longest;
2. the one whose client has kept us waiting for longest, and for some seconds: it neither sends the
   rest of its request nor reads its answer;
3. the newest of the client that has the most.

Those of the client that has the most come first in 1 and 2, and are the only ones in 3, if it has
more than its share: the kept connections of others outlive a flood.

Otherwise it is extra: one request of it is answered, with a refusal unless it is a probe.
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import structlog

from app.client import NOBODY
from app.telemetry.metrics import CONNECTIONS_CLOSED
from app.telemetry.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger(__name__)

# Connections beyond the limit, each for one request, so that probes get through.
EXTRA = 16
# A phone that changes cells is silent for about as long.
_GRACE_SECONDS = 5.0


class Connection(Protocol):
    """A connection that can be closed."""

    @property
    def peer(self) -> str:
        """The client, as `app.client` names it, or `NOBODY` for a proxy, which has many."""

    def abort(self) -> None:
        """Close it at once; what is to be sent is lost."""


class Place(Enum):
    """Where a new connection fits in."""

    WITHIN = "within"  # the limits
    BEYOND_ALL = "all"  # the limit of the process
    BEYOND_CLIENT = "client"  # the limit of its client


class Connections:
    """The table of connections.

    Args:
        limit: How many there may be; set later, once the descriptors in use are known.
        client_limit: How many one client may have.
        clock: Seconds that only grow.
    """

    def __init__(
        self, limit: int, client_limit: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._client_limit = client_limit
        self._clock = clock
        # Those of each client, the newest last.
        self._clients: defaultdict[str, OrderedDict[Connection, None]] = defaultdict(OrderedDict)
        self._within: set[Connection] = set()
        self._extra: OrderedDict[Connection, None] = OrderedDict()
        # Since when, the longest first.
        self._quiet: OrderedDict[Connection, float] = OrderedDict()
        self._owing: OrderedDict[Connection, float] = OrderedDict()
        self._closed = Tally(clock)

    def __len__(self) -> int:
        return len(self._within) + len(self._extra)

    def add(self, connection: Connection) -> Place:
        """Take a new connection in; another may be closed for it."""
        place = self._place(connection)
        if place is Place.WITHIN:
            self._within.add(connection)
            self._clients[connection.peer][connection] = None
            self.is_quiet(connection)
        else:
            self._extra[connection] = None
            if len(self._extra) > EXTRA:
                self._close(next(iter(self._extra)), "extra")
        return place

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed; further calls do nothing."""
        self._extra.pop(connection, None)
        self._quiet.pop(connection, None)
        self._owing.pop(connection, None)
        if connection in self._within:
            self._within.discard(connection)
            own = self._clients[connection.peer]
            del own[connection]
            if not own:
                del self._clients[connection.peer]

    def is_quiet(self, connection: Connection) -> None:
        """Note that a connection has no request, from now on."""
        self._owing.pop(connection, None)
        if connection in self._within:
            self._quiet[connection] = self._clock()

    def is_served(self, connection: Connection) -> None:
        """Note that it is for us to go on with a request of a connection."""
        self._quiet.pop(connection, None)
        self._owing.pop(connection, None)

    def is_owing(self, connection: Connection) -> None:
        """Note that its client has just done something, and has to go on."""
        self._quiet.pop(connection, None)
        if connection in self._within:
            self._owing[connection] = self._clock()
            self._owing.move_to_end(connection)

    def close(self, connection: Connection, reason: str) -> None:
        """Close a connection for a reason of its own."""
        self._close(connection, reason)

    def _place(self, connection: Connection) -> Place:
        # A proxy has many clients; requests of each are counted where they are known.
        if connection.peer != NOBODY:
            own = self._clients.get(connection.peer, ())
            if len(own) >= self._client_limit and not self._make_room(own):
                return Place.BEYOND_CLIENT
        if len(self._within) < self.limit:
            return Place.WITHIN
        greedy = self._greedy(connection)
        if self._make_room(greedy) or self._make_room() or self._take_share(greedy, connection):
            return Place.WITHIN
        return Place.BEYOND_ALL

    def _make_room(self, among: OrderedDict[Connection, None] | tuple[()] | None = None) -> bool:
        """Close the idlest connection, of these or of all; tell whether there was one."""
        for since, reason, seconds in (
            (self._quiet, "quiet", 0.0),
            (self._owing, "slow", _GRACE_SECONDS),
        ):
            idlest = next((each for each in since if among is None or each in among), None)
            if idlest is not None and self._clock() - since[idlest] >= seconds:
                self._close(idlest, reason)
                return True
        return False

    def _greedy(self, newcomer: Connection) -> OrderedDict[Connection, None]:
        """Return the connections of the client that has most and over its share, or none."""
        count = len(self._clients) + (newcomer.peer not in self._clients)
        # With two each, on average, nobody has many; the search below would only cost time.
        if count <= self.limit // 2:
            largest = max(self._clients.values(), key=len)
            if len(largest) > self.limit // count:
                return largest
        return OrderedDict()

    def _take_share(self, greedy: OrderedDict[Connection, None], newcomer: Connection) -> bool:
        """Close the newest connection of a greedy client; tell whether that is fairer."""
        if len(greedy) <= len(self._clients.get(newcomer.peer, ())) + 1:
            return False
        self._close(next(reversed(greedy)), "share")
        return True

    def _close(self, connection: Connection, reason: str) -> None:
        self.remove(connection)
        connection.abort()
        CONNECTIONS_CLOSED.labels(reason).inc()
        if count := self._closed.add(reason):
            logger.warning("connection_closed", reason=reason, client=connection.peer, count=count)
