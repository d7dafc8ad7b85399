"""Meters of clients: how much each uses, held against its limits.

Hides the buckets and counts of each client, and which clients are remembered. A client is a
principal or an address, and a request may count for both. What a request will use is often known
only afterwards: it is let in unless its client is in debt, counted as it goes, and slowed down
where it is faster than allowed. (A refusal in the middle would waste what was sent.)
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from app.errors import RateLimitedError
from app.limits.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.limits.limits import Limits

# An attacker with more networks than this has all limits anew.
_REMEMBERED = 10_000
# Of those that are not remembered because they are in use, so many are passed over in one go.
_PASSED_OVER = 16
# As `RateLimit-Policy` names them: requests go without saying.
_UNITS = ("", ';qu="content-bytes"')
# A slow request that shares its limit with others may be behind by this; the next waits, no longer.
_QUEUE_SECONDS = 1.0


class Meter:
    """What one client uses."""

    __slots__ = (
        "_bytes",
        "_in_flight",
        "_limits",
        "_meters",
        "_requests",
        "_running",
        "_uploads",
        "_workers",
    )

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._limits = meters.limits
        self._requests, self._bytes, self._workers = (
            Bucket(rate) if rate else None for rate in meters.rates
        )
        self._running = self._uploads = self._in_flight = 0

    def begin(self, body_bytes: int) -> None:
        """Let a request in, with an upload of at most so many bytes, or of none; `end` it.

        Raises:
            RateLimitedError: Its client is at a limit.
        """
        limits, now = self._limits, self._meters.clock()
        if self._requests:
            if wait := self._requests.wait_seconds(1, now):
                raise self._refusal("requests", "sends too many requests", wait)
            self._requests.take(1, now)
        if limits.connections and self._running >= limits.connections:
            raise self._refusal("connections", "has too many requests open")
        if self._bytes and (wait := self._bytes.wait_seconds(0, now)) > _QUEUE_SECONDS:
            raise self._refusal("bytes", "sends and reads too many bytes", wait)
        if body_bytes:
            self._begin_upload(body_bytes)
        self._running += 1

    def _begin_upload(self, body_bytes: int) -> None:
        limits = self._limits
        if limits.uploads and self._uploads >= limits.uploads:
            raise self._refusal("uploads", "has too many uploads open")
        # One upload alone may be as large as any may.
        too_much = self._in_flight + body_bytes > limits.bytes_in_flight > 0
        if too_much and self._in_flight:
            raise self._refusal("bytes-in-flight", "uploads too many bytes at once")
        self.require_workers()
        self._uploads += 1
        self._in_flight += body_bytes

    def end(self, body_bytes: int) -> None:
        """Note the end of a request that was let in, and of its upload."""
        self._running -= 1
        if body_bytes:
            self.end_upload(body_bytes)

    def end_upload(self, body_bytes: int) -> None:
        """Note that an upload is stored or refused; its request ends later, without one."""
        self._uploads -= 1
        self._in_flight -= body_bytes

    def has_room(self, body_bytes: int) -> bool:
        """Tell whether another upload of so many bytes may run, beside those that do."""
        limits = self._limits
        if limits.uploads and self._uploads >= limits.uploads:
            return False
        return not self._in_flight + body_bytes > limits.bytes_in_flight > 0

    def add_upload(self, body_bytes: int) -> None:
        """Note that another upload runs within a request; `end_upload` ends it."""
        self._uploads += 1
        self._in_flight += body_bytes

    async def pass_request(self) -> None:
        """Count what is as much as a request, and wait as long as the rate wants for it."""
        if self._requests:
            now = self._meters.clock()
            self._requests.take(1, now)
            if wait := self._requests.wait_seconds(0, now):
                await asyncio.sleep(wait)

    async def pass_bytes(self, count: int) -> None:
        """Count bytes that pass, and wait as long as the rate wants for them."""
        if self._bytes:
            now = self._meters.clock()
            self._bytes.take(count, now)
            if wait := self._bytes.wait_seconds(0, now):
                await asyncio.sleep(wait)

    def require_workers(self) -> None:
        """Check that the client may use a worker.

        Raises:
            RateLimitedError: It has used too much.
        """
        if self._workers and (wait := self._workers.wait_seconds(0, self._meters.clock())):
            raise self._refusal("worker-seconds", "has used too much time to process images", wait)

    def use_worker(self, seconds: float) -> None:
        """Count the time of a worker."""
        if self._workers:
            self._workers.take(seconds, self._meters.clock())

    @property
    def is_idle(self) -> bool:
        """Whether no request of it runs."""
        return not self._running

    def is_full(self, now: float) -> bool:
        """Tell whether nothing is remembered of it."""
        buckets = (self._requests, self._bytes, self._workers)
        return self.is_idle and not any(each and each.full_in(now) for each in buckets)

    def left(self) -> str:
        """Return what is left of each policy, as the header `RateLimit` says it."""
        now = self._meters.clock()
        return ", ".join(
            f'"{name}";r={bucket.left(now)};t={math.ceil(_seconds(bucket, now))}'
            for name, bucket in zip(self._meters.names, (self._requests, self._bytes), strict=True)
            if bucket
        )

    def _refusal(self, limit: str, what: str, seconds: float = 1.0) -> RateLimitedError:
        kind = self._limits.kind
        return RateLimitedError(f"This {kind} {what}.", f"{kind}-{limit}", math.ceil(seconds))


def _seconds(bucket: Bucket, now: float) -> float:
    """Return when there is more: one unit of an empty bucket, else all that it holds."""
    return bucket.wait_seconds(1, now) or bucket.full_in(now)


class Meters:
    """The meters of all clients of a kind.

    Args:
        limits: The limits of each.
        clock: Seconds that only grow, as those of the event loop.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.clock = clock
        self.rates = tuple(
            limits.rate(each)
            for each in (limits.requests, limits.sent_bytes, limits.worker_seconds)
        )
        self.names = (f"{limits.kind}-requests", f"{limits.kind}-bytes")
        self.policy = ", ".join(self._policies())
        self.exist = limits.exist
        self._meters: OrderedDict[str, Meter] = OrderedDict()

    def _policies(self) -> Iterator[str]:
        requests, sent_bytes, _ = self.rates
        for name, rate, unit in zip(self.names, (requests, sent_bytes), _UNITS, strict=True):
            if rate:
                yield f'"{name}";q={rate.quota}{unit};w={rate.window_seconds:.0f}'

    def __len__(self) -> int:
        return len(self._meters)

    def of(self, client: str) -> Meter:
        """Return the meter of a client."""
        meter = self._meters.get(client)
        if meter is None:
            self._forget()
            meter = self._meters[client] = Meter(self)
        else:
            self._meters.move_to_end(client)
        return meter

    def _forget(self) -> None:
        """Forget clients that have long used nothing, and others where there are too many."""
        now = self.clock()
        for _ in range(_PASSED_OVER):
            client, meter = next(iter(self._meters.items()), ("", None))
            if meter is None:
                return
            if meter.is_full(now) or (meter.is_idle and len(self._meters) >= _REMEMBERED):
                del self._meters[client]
            elif len(self._meters) < _REMEMBERED:
                return
            else:
                self._meters.move_to_end(client)


# The meters of the request that runs in this context.
_CURRENT: ContextVar[tuple[Meter, ...]] = ContextVar("meters", default=())


@contextmanager
def measured(meter: Meter) -> Iterator[None]:
    """Have what is done in this context count for a client as well."""
    token = _CURRENT.set((*_CURRENT.get(), meter))
    try:
        yield
    finally:
        _CURRENT.reset(token)


async def pass_bytes(count: int) -> None:
    """Count bytes that pass for the clients of this context; wait as long as their rates want."""
    for meter in _CURRENT.get():
        await meter.pass_bytes(count)


async def pass_image() -> None:
    """Count one more image of a request for the clients of this context, as a request."""
    for meter in _CURRENT.get():
        await meter.pass_request()


def begin_another(body_bytes: int) -> Callable[[], None] | None:
    """Count another upload of so many bytes for the clients of this context, if all have room.

    Returns:
        A function to call at its end; None where it may not begin yet.
    """
    meters = _CURRENT.get()
    if not all(meter.has_room(body_bytes) for meter in meters):
        return None
    for meter in meters:
        meter.add_upload(body_bytes)

    def end() -> None:
        for meter in meters:
            meter.end_upload(body_bytes)

    return end


class WorkerTime:
    """Counts the time of codec workers for the clients of the context that it is used in."""

    def require(self) -> None:
        """Check that they may use a worker.

        Raises:
            RateLimitedError: One has used too much.
        """
        for meter in _CURRENT.get():
            meter.require_workers()

    def use(self, seconds: float) -> None:
        """Count the time of a worker."""
        for meter in _CURRENT.get():
            meter.use_worker(seconds)
