"""A limit on the bytes of images in memory at once, shared fairly between clients.

Hides who waits, who is next, and who has to end so that others may begin. A reservation grows with
the bytes that came, and while it waits for more its caller reads nothing. These hold at any time:

- All reservations together never hold more than the budget has.
- Those that still grow, but for the oldest of them, never hold so much that the oldest could not
  become as large as any may: each is some time the oldest, so a full budget cannot deadlock. (This
  is the banker's algorithm of Dijkstra, EWD 108, for claims that are all taken for the largest.)
- Next is the client that holds least, and of its reservations the oldest: max-min fairness
  (Bertsekas and Gallager, Data Networks, section 6.5.2). Only the oldest of all overtakes it.

While any waits, those that lag behind their pace are cut off, from the client that holds most, and
no more of them than are needed. While a client waits within its share, those that wait beyond
theirs are refused at once. A client that is alone may use everything.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING

from app.errors import OverloadedError, ShareExceededError, UnavailableError
from app.turns import Share, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

# A photo is stored in a fraction of a second: the budget frees itself quickly.
_RETRY_AFTER_SECONDS = 2


class Reservation:
    """A part of the budget, held until it is released."""

    def __init__(
        self, budget: ByteBudget, share: Share[Reservation], number: int, most_bytes: int
    ) -> None:
        self._budget = budget
        self.share = share
        # Its age: an older one has a lower number.
        self.number = number
        self.most_bytes = most_bytes
        self.held_bytes = 0
        # While it waits: how much more it wants, and the future that ends the wait, with an error
        # if it is refused.
        self.wanted_bytes = 0
        self.turn: asyncio.Future[UnavailableError | None] | None = None
        # It was cut off or refused: its bytes will be free as soon as its task has noticed.
        self.ends = False

    @property
    def waits(self) -> bool:
        """Whether it waits for its turn."""
        return self.turn is not None

    async def grow(self, to_bytes: int) -> None:
        """Hold at least `to_bytes`, but never more than it may become; wait until they are free.

        Raises:
            OverloadedError: Too little became free in time.
            ShareExceededError: So it was, and this client holds more than its share.
        """
        wanted_bytes = min(to_bytes, self.most_bytes) - self.held_bytes
        if wanted_bytes > 0:
            await self._budget.take(self, wanted_bytes)

    def shrink(self, needed_bytes: int) -> None:
        """Return all bytes but `needed_bytes` to the budget; it does not grow again."""
        self.most_bytes = min(self.held_bytes, needed_bytes)
        self._budget.put_back(self, self.held_bytes - self.most_bytes)

    def release(self, *_: object) -> None:
        """Return the rest; further calls do nothing. A future may have it as its callback."""
        self.shrink(0)

    def lag(self, cut_off: Callable[[], None]) -> None:
        """Say that it is behind its pace: while others wait, `cut_off` may be called, once."""
        self._budget.lag(self, cut_off)

    def keep_up(self) -> None:
        """Say that it is no longer behind."""
        self._budget.keep_up(self)


class ByteBudget:
    """A budget of `total_bytes`; a reservation waits for at most `patience_seconds`.

    Args:
        total_bytes: What all reservations may hold together.
        patience_seconds: How long a reservation waits each time.
        largest_bytes: What one may hold; all of the budget by default.
    """

    def __init__(
        self, total_bytes: int, patience_seconds: float, largest_bytes: int | None = None
    ) -> None:
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._patience_seconds = patience_seconds
        self._largest_bytes = min(largest_bytes or total_bytes, total_bytes)
        self._numbers = count()
        # By client: those that hold something or wait.
        self._shares: dict[str, Share[Reservation]] = {}
        # The oldest first. A plain dictionary would look for its first entry among deleted ones.
        self._growing: OrderedDict[Reservation, None] = OrderedDict()
        self._lagging: dict[Reservation, Callable[[], None]] = {}
        # Those that wait and hold something already.
        self._stalled: dict[Reservation, None] = {}
        self._turns: Turns[Reservation] = Turns()
        # Of all that wait, and of all that are about to end.
        self._wanted_bytes = 0
        self._ending_bytes = 0

    @property
    def total_bytes(self) -> int:
        """The bytes that all reservations may hold together."""
        return self._total_bytes

    @property
    def free_bytes(self) -> int:
        """The bytes that nobody holds."""
        return self._free_bytes

    @property
    def is_waited_for(self) -> bool:
        """Whether any reservation waits."""
        return self._wanted_bytes > 0

    def has_room(self, client: str, bytes_more: int) -> bool:
        """Tell whether a client stays within its share with a reservation of so many bytes."""
        share = self._shares.get(client)
        held_bytes = share.held_bytes if share else 0
        return held_bytes + min(bytes_more, self._largest_bytes) <= self._share_bytes()

    async def reserve(self, client: str, needed_bytes: int, most_bytes: int = 0) -> Reservation:
        """Reserve a part of the budget; a request for more than one may hold gets that.

        Args:
            client: Whom it counts for, as `app.client` names it.
            needed_bytes: What it holds from the beginning.
            most_bytes: What it may grow to, if it grows.

        Raises:
            OverloadedError, ShareExceededError: See `Reservation.grow`.
        """
        share = self._shares.get(client)
        if share is None:
            share = self._shares[client] = Share(client)
        most_bytes = min(max(needed_bytes, most_bytes), self._largest_bytes)
        reservation = Reservation(self, share, next(self._numbers), most_bytes)
        try:
            await reservation.grow(needed_bytes)
        except BaseException:
            reservation.release()
            raise
        return reservation

    async def take(self, reservation: Reservation, wanted_bytes: int) -> None:
        """Add to a reservation, at once if nobody is before it; see `Reservation.grow`."""
        first = not self._wanted_bytes or next(iter(self._growing), None) is reservation
        if first and wanted_bytes <= self._available_bytes(reservation):
            self._give(reservation, wanted_bytes)
        else:
            await self._wait(reservation, wanted_bytes)

    def put_back(self, reservation: Reservation, freed_bytes: int) -> None:
        """Return bytes of a reservation that does not grow again."""
        share = reservation.share
        if reservation.ends:
            self._ending_bytes -= freed_bytes
        self._growing.pop(reservation, None)
        self._lagging.pop(reservation, None)
        reservation.held_bytes -= freed_bytes
        share.held_bytes -= freed_bytes
        self._free_bytes += freed_bytes
        self._turns.moved(share)
        self._forget_if_idle(share)
        self._grant()

    def lag(self, reservation: Reservation, cut_off: Callable[[], None]) -> None:
        """See `Reservation.lag`."""
        self._lagging[reservation] = cut_off
        self._make_room()

    def keep_up(self, reservation: Reservation) -> None:
        """See `Reservation.keep_up`."""
        self._lagging.pop(reservation, None)

    def _available_bytes(self, reservation: Reservation) -> int:
        """Return what it could have now: only the oldest has the room that is kept for it."""
        oldest = next(iter(self._growing), reservation)
        if oldest is reservation:
            return self._free_bytes
        return self._free_bytes - max(self._largest_bytes - oldest.held_bytes, 0)

    def _give(self, reservation: Reservation, wanted_bytes: int) -> None:
        if reservation.ends:
            self._ending_bytes += wanted_bytes
        self._free_bytes -= wanted_bytes
        reservation.held_bytes += wanted_bytes
        reservation.share.held_bytes += wanted_bytes
        if reservation.held_bytes < reservation.most_bytes:
            self._growing.setdefault(reservation, None)
        else:
            self._growing.pop(reservation, None)
        self._turns.moved(reservation.share)

    async def _wait(self, reservation: Reservation, wanted_bytes: int) -> None:
        turn: asyncio.Future[UnavailableError | None] = asyncio.get_running_loop().create_future()
        reservation.turn, reservation.wanted_bytes = turn, wanted_bytes
        self._wanted_bytes += wanted_bytes
        self._turns.add(reservation.share, reservation)
        if reservation.held_bytes:
            self._stalled[reservation] = None
        self._grant()
        try:
            async with asyncio.timeout(self._patience_seconds):
                refusal = await turn
        except TimeoutError as error:
            raise self._refusal(reservation.share) from error
        finally:
            # A caller that left, or was refused, makes room for those behind it.
            if reservation.waits:
                self._stop_waiting(reservation, None)
                self._forget_if_idle(reservation.share)
                self._grant()
        if refusal is not None:
            raise refusal

    def _stop_waiting(self, reservation: Reservation, refusal: UnavailableError | None) -> None:
        turn, reservation.turn = reservation.turn, None
        self._wanted_bytes -= reservation.wanted_bytes
        reservation.share.waiting -= 1
        self._stalled.pop(reservation, None)
        # It is done already if its caller has left.
        if turn is not None and not turn.done():
            turn.set_result(refusal)

    def _forget_if_idle(self, share: Share[Reservation]) -> None:
        if not (share.held_bytes or share.waiting) and self._shares.get(share.client) is share:
            del self._shares[share.client]

    def _grant(self) -> None:
        """Give to all whose turn it is, and make room for the next."""
        while (ready := self._ready()) is not None:
            self._give(ready, ready.wanted_bytes)
            self._stop_waiting(ready, None)
        self._make_room()

    def _ready(self) -> Reservation | None:
        """Return a reservation that waits and can have what it wants."""
        if not self._wanted_bytes:
            return None
        oldest = next(iter(self._growing), None)
        if oldest is not None and oldest.waits and oldest.wanted_bytes <= self._free_bytes:
            return oldest
        first = self._turns.next()
        if first is not None and first.wanted_bytes <= self._available_bytes(first):
            return first
        return None

    def _make_room(self) -> None:
        """End what has to end so that others may begin.

        Each part is empty or not needed afterwards, so that the next call has little to do.
        """
        first = self._turns.next() if self._wanted_bytes else None
        if first is not None:
            there_bytes = self._available_bytes(first) + self._ending_bytes
            self._cut_off(self._wanted_bytes - there_bytes)
            self._bind_shares(first)

    def _cut_off(self, short_bytes: int) -> None:
        """Cut off uploads that lag, from the client that holds most, until there is enough."""
        if short_bytes <= 0 or not self._lagging:
            return
        for lagging in sorted(self._lagging, key=lambda each: -each.share.held_bytes):
            if short_bytes <= 0:
                return
            short_bytes -= lagging.held_bytes
            self._end(lagging)
            self._lagging.pop(lagging)()

    def _bind_shares(self, first: Reservation) -> None:
        """Refuse the youngest that wait beyond a share, while `first` waits within its own."""
        short_bytes = first.wanted_bytes - self._available_bytes(first) - self._ending_bytes
        share_bytes = self._share_bytes()
        if short_bytes <= 0 or first.share.held_bytes + first.wanted_bytes > share_bytes:
            return
        greedy = [each for each in self._stalled if each.share.held_bytes > share_bytes]
        for each in sorted(greedy, key=lambda each: (-each.share.held_bytes, -each.number)):
            if short_bytes <= 0:
                return
            short_bytes -= each.held_bytes
            self._end(each)
            self._stop_waiting(each, _share_exceeded())

    def _end(self, reservation: Reservation) -> None:
        if not reservation.ends:
            reservation.ends = True
            self._ending_bytes += reservation.held_bytes

    def _share_bytes(self) -> int:
        return self._total_bytes // max(len(self._shares), 1)

    def _refusal(self, share: Share[Reservation]) -> UnavailableError:
        if len(self._shares) > 1 and share.held_bytes > self._share_bytes():
            return _share_exceeded()
        return OverloadedError("Too many bytes are being processed at once.", _RETRY_AFTER_SECONDS)


def _share_exceeded() -> ShareExceededError:
    return ShareExceededError(
        "This client has more bytes in progress than its share of the memory for them.",
        _RETRY_AFTER_SECONDS,
    )
