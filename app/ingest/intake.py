"""A body on its way into memory: as fast as the budget allows, as slow as the pace allows.

Hides how much memory a part of an upload counts for, and when a body is too slow. Its deadline is
a leaky bucket: each byte moves it by what the minimum rate allows for a byte, never further than
the grace from now. A body that is past it is cut off only while others wait for memory; silence,
or a trickle, ends it in any case. Time in which it is not read, because there is no memory for more
or a limit of its client holds it up, is no fault of the client.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.errors import RequestTimeoutError
from app.records.value import ValueEncoding

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from app.budget import Reservation
    from app.ingest.settings import BodySettings

# The copies of an upload in memory at its worst: the body, the developed image, aiokafka's batch,
# and the request that holds the batch.
COPIES = 4
# With Base64 each byte becomes 1.33 in the record, the batch and the request, beside the body and
# the developed image.
_COPIES_BASE64 = 6
# One more, as it is and sealed; with Base64 that is one chunk at a time.
_COPIES_SEALED = 5
# What an upload holds before anything of it came. As low as this, 2,000 silent connections hold a
# quarter of the default budget. (What the server has read ahead, 65,536 bytes and a last read of up
# to 256,000, belongs to the connection and is there before an upload is admitted.)
_AHEAD_BYTES = 16_384
# Clients that are gone without a word: as nginx's client_body_timeout.
SILENCE_SECONDS = 60.0
# Less within that time is silence: a byte a second would hold a connection for months. The slowest
# mobile networks carry ten times as much, and Apache's RequestReadTimeout asks for five times.
_TRICKLE_BYTES = 6_000


def memory_for(received_bytes: int, max_bytes: int) -> int:
    """Return what an upload holds that may have `max_bytes`, before more than this is read."""
    return COPIES * min(received_bytes + _AHEAD_BYTES, max_bytes)


def within(budget_bytes: int, encoding: ValueEncoding, *, sealed: bool = False) -> int:
    """Return the budget in which each byte counts for `COPIES`, if values have this form."""
    if encoding is ValueEncoding.BASE64:
        return budget_bytes * COPIES // _COPIES_BASE64
    return budget_bytes * COPIES // (_COPIES_SEALED if sealed else COPIES)


class Pulse:
    """The sign that a client is there: that more than a trickle of its body came.

    Attributes:
        at: The loop time of the last one.
    """

    def __init__(self) -> None:
        self.at = asyncio.get_running_loop().time()
        self._bytes = 0

    @property
    def ends_at(self) -> float:
        """The loop time from which on the client counts as gone."""
        return self.at + SILENCE_SECONDS

    def count(self, piece_bytes: int) -> None:
        """Take a piece that came into account."""
        self._bytes += piece_bytes
        if self._bytes >= _TRICKLE_BYTES:
            self.at, self._bytes = asyncio.get_running_loop().time(), 0

    def delay(self, seconds: float) -> None:
        """Take into account that nothing was read for so long."""
        self.at += seconds

    def lateness(self) -> str:
        """Return what to tell a client that counts as gone."""
        came = f"Only {self._bytes:,} bytes" if self._bytes else "Nothing"
        return f"{came} came of the body for {SILENCE_SECONDS:.0f} seconds."


class Intake:
    """The way of one body into the memory that `reservation` holds for it.

    Args:
        reservation: The memory.
        pace: The slowest allowed rate.
        max_bytes: The most that may come.
        passed: Counts bytes that came, and returns when the client's limits allow more.
        there_bytes: What the reservation holds already that came earlier.
    """

    _timer: asyncio.TimerHandle

    def __init__(
        self,
        reservation: Reservation,
        pace: BodySettings,
        max_bytes: int,
        passed: Callable[[int], Awaitable[None]],
        there_bytes: int = 0,
    ) -> None:
        self._passed = passed
        self._reservation = reservation
        self._grace_seconds = pace.slow_body_seconds
        self._min_rate = pace.min_body_rate
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._received_bytes = there_bytes
        self._pulse = Pulse()
        self._started = self._loop.time()
        self._deadline = self._started + self._grace_seconds
        self._lags = self._is_read = False
        self._limit = asyncio.timeout(None)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Watch the pace of what is received within this context.

        Raises:
            RequestTimeoutError: The body was cut off.
        """
        self._is_read = True
        self._look_at(self._deadline)
        try:
            async with self._limit:
                yield
        except TimeoutError as error:
            raise RequestTimeoutError(self._reason()) from error
        finally:
            self._timer.cancel()
            self._reservation.keep_up()

    async def count(self, piece_bytes: int) -> None:
        """Take a piece that came into account; returns when there is memory for another.

        Raises:
            OverloadedError, ShareExceededError: There is none for too long.
        """
        now = self._loop.time()
        self._received_bytes += piece_bytes
        self._pulse.count(piece_bytes)
        moved = self._deadline + piece_bytes / self._min_rate
        self._deadline = min(moved, now + self._grace_seconds)
        lagged, self._lags = self._lags, False
        if lagged:
            self._reservation.keep_up()
        self._is_read = False
        await self._passed(piece_bytes)
        await self._reservation.grow(memory_for(self._received_bytes, self._max_bytes))
        self._is_read = True
        unread_seconds = self._loop.time() - now
        self._pulse.delay(unread_seconds)
        self._deadline += unread_seconds
        if lagged:
            self._timer.cancel()
            self._look()

    def _look_at(self, when: float) -> None:
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        """Look at the deadline: one timer a body, which is late rather than moved by each piece."""
        now = self._loop.time()
        if not self._is_read:
            self._look_at(now + self._grace_seconds)
        elif now < self._deadline:
            self._look_at(self._deadline)
        elif now < self._pulse.ends_at:
            self._look_at(self._pulse.ends_at)
            if not self._lags:
                self._lags = True
                self._reservation.lag(self._cut_off)
        else:
            self._cut_off()

    def _cut_off(self) -> None:
        # For one reason or the other; the second comes too late.
        if self._limit.when() is None:
            self._limit.reschedule(self._loop.time())

    def _reason(self) -> str:
        now = self._loop.time()
        if now >= self._pulse.ends_at:
            return self._pulse.lateness()
        return (
            f"The body came too slowly while others waited: {self._received_bytes:,} bytes in"
            f" {now - self._started:.0f} seconds."
        )
