"""The progress of a catalog through a log: a row of the catalog."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from app.log import Batch, StoredRecord

SCHEMA = """
CREATE TABLE progress (
    identity TEXT NOT NULL, next_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, last_fingerprint BLOB NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """The log that a catalog is built from, and the offset at which the next batch starts.

    `last_offset` is that of the last record applied, -1 for none, and `last_fingerprint` tells
    that record from any other, in case the topic is replaced.
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
    """Return a digest that no other record has: the event ids in the values are random."""
    digest = hashlib.sha256(str(record.timestamp_ms).encode())
    digest.update(record.key or b"")
    digest.update(record.value or b"")
    return digest.digest()


def load(connection: sqlite3.Connection) -> Progress:
    """Return the progress that was saved last; a new catalog knows no log."""
    row = connection.execute("SELECT * FROM progress").fetchone()
    return Progress(*row) if row else Progress("")


def save(connection: sqlite3.Connection, progress: Progress) -> None:
    """Save the progress; the transaction also holds the events that it counts."""
    connection.execute("DELETE FROM progress")
    connection.execute("INSERT INTO progress VALUES (?, ?, ?, ?)", astuple(progress))
