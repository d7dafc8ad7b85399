"""The cache of records that were read lately, up to a number of bytes.

Hides which records are cached: the least recently used one leaves first. Neighbours that came with
a record are cached too, as images that were stored together are often viewed together.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.log import Fetched, Log, Position, StoredRecord

# A record with its position, tuples and dictionary entry (sys.getsizeof), rounded up.
_OVERHEAD_BYTES = 500


class RecordCache:
    """Reads a topic of a log through at most `max_bytes` of memory."""

    def __init__(self, log: Log, topic: str, max_bytes: int) -> None:
        self._log = log
        self._topic = topic
        self._max_bytes = max_bytes
        self._bytes = 0
        self._records: OrderedDict[Position, StoredRecord] = OrderedDict()

    async def read(
        self, position: Position, belongs: Callable[[StoredRecord], bool]
    ) -> StoredRecord:
        """Return a record from memory, provided that it `belongs`, or else from the log.

        After a topic was replaced, the record cached for a position may be one of the old topic.

        Raises:
            GatewayError: As `Log.read`.
        """
        if (record := self._records.get(position)) is not None and belongs(record):
            self._records.move_to_end(position)
            return record
        fetched = await self._log.read(self._topic, position)
        self._add(fetched)
        return fetched.record

    def _add(self, fetched: Fetched) -> None:
        for record in (*fetched.neighbours, fetched.record):
            if (old := self._records.get(record.position)) is not None:
                self._bytes -= _size(old)
            self._records[record.position] = record
            self._bytes += _size(record)
        while self._bytes > self._max_bytes:
            _, oldest = self._records.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(record: StoredRecord) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return _OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"") + headers
