"""How far a catalog has come, and in which log."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.log import Batch, StoredRecord


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the catalog has come, and in which log.

    `last_offset` is that of the last record applied, -1 for none, and `last_fingerprint` tells
    that record from any other, should the topic be another one tomorrow.
    """

    identity: str
    next_offset: int = 0
    last_offset: int = -1
    last_fingerprint: bytes = b""

    def after(self, batch: Batch) -> Progress:
        """Return the progress once a batch is applied."""
        if not batch.records:
            return replace(self, next_offset=batch.next_offset)
        last = batch.records[-1]
        return Progress(self.identity, batch.next_offset, last.position.offset, fingerprint(last))


def fingerprint(record: StoredRecord) -> bytes:
    """Tell a record from any other: the event ids in the values are random."""
    digest = hashlib.sha256(str(record.timestamp_ms).encode())
    digest.update(record.key or b"")
    digest.update(record.value or b"")
    return digest.digest()
