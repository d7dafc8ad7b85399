"""The cache of records that were read lately, up to a number of bytes.

Hides which records are cached: the least recently used one leaves first. Neighbours that came with
a record are cached too, as images that were stored together are often viewed together. A record
that many ask for at once is read once: each of them would hold a copy of its own. What the headers
of a head say is parsed once, and stays with the record.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from app.readings import Readings
from app.records.image import parse_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.log import Fetched, Position, ReadableLog, StoredRecord
    from app.records.image import Head

# A record with its position, tuples and dictionary entry (sys.getsizeof), rounded up.
_OVERHEAD_BYTES = 500
# A parsed head without its texts, and each position of a chunk (tracemalloc), rounded up.
_HEAD_BYTES, _CHUNK_BYTES = 2_000, 100
# When a cached record is not the one asked for, the topic may have been replaced: after this long,
# it is read again. At once would be a read for each id that somebody makes up.
_CHECK_SECONDS = 1.0


@dataclass(slots=True)
class _Cached:
    """A record, and when it was read; of a head that was asked for, what it says."""

    record: StoredRecord
    read_at: float
    head: Head | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        record, head = self.record, self.head
        headers = sum(len(name) + len(value or b"") for name, value in record.headers)
        size = _OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"") + headers
        # The texts of the headers are in the head again.
        return size + (_HEAD_BYTES + headers + _CHUNK_BYTES * len(head.chunks) if head else 0)


class RecordCache:
    """Reads a topic of a log through at most `max_bytes` of memory."""

    def __init__(
        self, log: ReadableLog, topic: str, max_bytes: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._log = log
        self._topic = topic
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._cached: OrderedDict[Position, _Cached] = OrderedDict()
        self._readings: Readings[StoredRecord] = Readings()

    async def read(
        self, position: Position, belongs: Callable[[StoredRecord], bool]
    ) -> StoredRecord:
        """Return a record from memory, if it `belongs` or was read just now, or else from the log.

        After a topic was replaced, the record cached for a position may be one of the old topic.

        Raises:
            GatewayError: As `Log.read`.
        """
        if (cached := self._cached.get(position)) is not None and (
            belongs(cached.record) or self._clock() - cached.read_at < _CHECK_SECONDS
        ):
            self._cached.move_to_end(position)
            return cached.record
        return await self._readings.once(position, partial(self._read, position))

    def holds(self, position: Position) -> bool:
        """Tell whether the record of a position is in memory."""
        return position in self._cached

    def head(self, record: StoredRecord) -> Head:
        """Return what a record says that `read` has returned, and is a head.

        Raises:
            UnfitRecordError, NewerVersionError: As `parse_head`.
        """
        cached = self._cached.get(record.position)
        if cached is None or cached.record is not record:
            return parse_head(record)
        if cached.head is None:
            head = parse_head(record)
            self._bytes -= cached.size_bytes
            cached.head = head
            self._bytes += cached.size_bytes
            self._shrink()
            return head
        return cached.head

    async def _read(self, position: Position) -> StoredRecord:
        fetched = await self._log.read(self._topic, position)
        self._add(fetched)
        return fetched.record

    def _add(self, fetched: Fetched) -> None:
        now = self._clock()
        for record in (*fetched.neighbours, fetched.record):
            if (old := self._cached.get(record.position)) is not None:
                self._bytes -= old.size_bytes
            new = self._cached[record.position] = _Cached(record, now)
            self._bytes += new.size_bytes
        self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            _, oldest = self._cached.popitem(last=False)
            self._bytes -= oldest.size_bytes
