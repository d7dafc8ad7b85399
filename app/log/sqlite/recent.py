"""The newest records of a partition, kept for a tail that has read all before them.

Hides that what this process has just committed need not be read from the file again, by a thread:
no other process writes to it. A tail that is further behind reads the file.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from app.log import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.log import StoredRecord

# Some fifty events. A tail that is awake has read them within milliseconds.
_KEPT_BYTES = 65_536


class Recent:
    """Records with consecutive offsets, up to the end of the partition as it was announced."""

    def __init__(self) -> None:
        self._records: deque[StoredRecord] = deque()
        self._bytes = 0
        self._start = self._end = -1

    def add(self, records: Iterable[StoredRecord]) -> None:
        """Keep records that are committed, in the order of the commits."""
        for record in records:
            # Offsets of what was rolled back are passed over.
            if record.position.offset != self._end:
                self.clear()
                self._start = record.position.offset
            self._end = record.position.offset + 1
            self._records.append(record)
            self._bytes += len(record.value or b"")
            while self._bytes > _KEPT_BYTES:
                oldest = self._records.popleft()
                self._bytes -= len(oldest.value or b"")
                self._start = oldest.position.offset + 1

    def after(self, start: int) -> Batch | None:
        """Return the records from `start` on, perhaps none; None if they have to be read."""
        if not self._start <= start <= self._end:
            return None
        first = start - self._start
        records = tuple(record for n, record in enumerate(self._records) if n >= first)
        return Batch(records, self._end, self._end)

    def clear(self) -> None:
        """Have everything read from the file until more is added."""
        self._records.clear()
        self._bytes = 0
        self._start = self._end = -1
