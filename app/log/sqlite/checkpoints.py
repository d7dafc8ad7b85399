"""Checkpoints: copies of the write-ahead log into the database.

Hides when they are due, and which writes wait for one. They run after acknowledgements, in the
writer's thread. Source: https://www.sqlite.org/wal.html#ckpt.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from app.log.sqlite.database import PAGE_BYTES, WAL_KEPT_BYTES

if TYPE_CHECKING:
    from app.log.sqlite.write import Write

# The time between two tries of what has failed, when nothing else calls for one sooner.
RETRY_SECONDS = 1.0
# Every write changes about two pages beyond its own bytes: a leaf, and the counters.
_OVERHEAD_BYTES = 2 * PAGE_BYTES
_DUE_BYTES = WAL_KEPT_BYTES // 2


class Checkpoints:
    """The part of the write-ahead log that is not copied yet, and the writes that wait for it."""

    def __init__(self) -> None:
        self._unscrubbed: list[tuple[Write[Any], Any]] = []
        self._uncopied_bytes = 0
        self._not_before = 0.0

    @property
    def awaited(self) -> bool:
        """Whether a write waits for a checkpoint."""
        return bool(self._unscrubbed)

    def committed(self, write: Write[Any], result: Any) -> None:
        """Resolve a write that was committed, or keep it until the next checkpoint."""
        self._uncopied_bytes += write.size_bytes + _OVERHEAD_BYTES
        if write.scrubs:
            self._unscrubbed.append((write, result))
        else:
            write.done.set_result(result)

    def run_if_due(self, connection: sqlite3.Connection) -> str | None:
        """Run a checkpoint if it is due; return why it failed, as a clause, or None."""
        due = self._unscrubbed or self._uncopied_bytes >= _DUE_BYTES
        if due and time.monotonic() >= self._not_before:
            return self._run(connection, "TRUNCATE" if self._unscrubbed else "RESTART")
        return None

    def run_last(self, connection: sqlite3.Connection) -> None:
        """Run the last checkpoint, and refuse the writes that it did not reach."""
        # The next start copies the rest.
        self._run(connection, "TRUNCATE")
        for write, _ in self._unscrubbed:
            write.refuse()

    def _run(self, connection: sqlite3.Connection, mode: str) -> str | None:
        """Copy the write-ahead log into the database; TRUNCATE empties its file as well.

        Unlike SQLite's own checkpoints these wait for readers, which are short: a stream of
        readers that overlap would otherwise let the write-ahead log grow for ever.
        """
        trouble = None
        try:
            busy = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
        except sqlite3.Error as error:
            trouble = f"the write-ahead log cannot be copied: {error}"
            busy = True
        if busy:
            self._not_before = time.monotonic() + RETRY_SECONDS
            return trouble
        self._uncopied_bytes = 0
        for write, result in self._unscrubbed:
            write.done.set_result(result)
        self._unscrubbed.clear()
        return None
