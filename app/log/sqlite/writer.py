"""The one writer: a thread that commits everything that waits in one transaction.

Hides: group commit, who may still be withdrawn, what a failed commit means, and when the
write-ahead log is copied into the database.

A write that waits can be withdrawn and certainly leaves no trace. One that the writer has taken
cannot. What fails before COMMIT was rolled back; an error of COMMIT itself is certain only where
SQLite says that the commit did not reach the file: https://www.sqlite.org/rescode.html.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from app.errors import GatewayError, NotWrittenError, OutcomeUnknownError
from app.log.sqlite.database import PAGE_BYTES, WAL_KEPT_BYTES, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Result = TypeVar("Result")

# A transaction of this size takes tens of milliseconds, against a few for its fsync alone.
GROUP_BYTES = 8 * 1024 * 1024
# Every write dirties about two pages beyond its own bytes: a leaf, and the counters.
_OVERHEAD_BYTES = 2 * PAGE_BYTES
_CHECKPOINT_BYTES = WAL_KEPT_BYTES // 2
_CACHE_KIB = 2 * GROUP_BYTES // 1024
# How often what went wrong is tried again while nothing else calls for it.
_RETRY_SECONDS = 1.0

_PRIMARY_CODE = 0xFF  # the low byte of an extended result code
# COMMIT writes the commit frame last: without room for it, or without the lock, there is none.
_CERTAINLY_ROLLED_BACK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY})


@dataclass(eq=False, slots=True)
class Write(Generic[Result]):
    """Something to do within the next transaction.

    `apply` is called in the writer's thread, and once more if the transaction had to be repeated.
    Where `scrubs`, `done` is resolved only when the write-ahead log, too, is rid of the bytes.
    """

    apply: Callable[[sqlite3.Connection], Result]
    size_bytes: int = 0
    scrubs: bool = False
    done: Future[Result] = field(default_factory=Future)


class Writer:
    """Commits writes in the order in which they were submitted.

    Attributes:
        trouble: Why the last transaction or checkpoint failed, or None.
        commits: How many transactions were committed.
    """

    def __init__(self, path: Path) -> None:
        self.trouble: str | None = None
        self.commits = 0
        self._path = path
        self._waiting: deque[Write[Any]] = deque()
        self._unscrubbed: list[tuple[Write[Any], Any]] = []
        self._changed = threading.Condition()
        self._running = False
        self._stop_at = 0.0
        self._uncopied_bytes = 0
        self._checkpoint_from = 0.0
        self._connection: sqlite3.Connection
        # A daemon: a disk that never answers must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name="sqlite-log-writer", daemon=True)

    def start(self) -> None:
        """Open the database and start the thread; blocks while opening."""
        self._connection = connect(self._path, _CACHE_KIB)
        self._running = True
        self._thread.start()

    def stop(self, within_seconds: float) -> bool:
        """Commit what waits, refuse what is left after the bound, and close; blocks.

        Returns:
            Whether the thread ended. One that the disk does not answer cannot be ended.
        """
        with self._changed:
            self._stop_at = time.monotonic() + within_seconds
            self._running = False
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(within_seconds + _RETRY_SECONDS)
        self._refuse_waiting()  # again, in the place of a thread that hangs
        return not self._thread.is_alive()

    def submit(self, write: Write[Result]) -> None:
        """Queue a write; its `done` is resolved in the writer's thread.

        Raises:
            NotWrittenError: The writer does not run.
        """
        with self._changed:
            if not self._running:
                raise NotWrittenError("The log is not running.")
            self._waiting.append(write)
            self._changed.notify()

    async def perform(
        self,
        write: Write[Result],
        within_seconds: float,
        then: Callable[[asyncio.Future[Result]], object],
    ) -> Result:
        """Submit a write and return its result; it goes on when the caller is cancelled.

        `then` is called with the outcome in the event loop, though nobody waits any longer.

        Raises:
            NotWrittenError: Nothing was written, nor will be.
            OutcomeUnknownError: The commit was under way at the end of the time, or failed.
        """
        self.submit(write)
        written = asyncio.wrap_future(write.done)
        written.add_done_callback(then)
        await asyncio.wait({written}, timeout=within_seconds)
        if self.withdraw(write):
            raise NotWrittenError("The log was too busy to take the records in time.")
        if write.done.done():
            return write.done.result()
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.add_done_callback(partial(_settle, settled))
        raise OutcomeUnknownError("The log did not confirm the records in time.", (), settled)

    def withdraw(self, write: Write[Any]) -> bool:
        """Forget a write, and return True, if it is not taken yet."""
        with self._changed:
            if not write.done.cancel():
                return False
            self._waiting.remove(write)
            return True

    def _run(self) -> None:
        while self._wait():
            self._transact(self._take())
            self._checkpoint_if_due()
        self._refuse_waiting()
        self._checkpoint("TRUNCATE")  # what this one cannot copy is copied at the next start
        for write, _ in self._unscrubbed:
            write.done.set_exception(_stopped())
        self._connection.close()

    def _wait(self) -> bool:
        """Wait for something to do; return False once it is time to end."""
        with self._changed:
            if self._running and not self._waiting:
                due = self.trouble is not None or self._unscrubbed
                self._changed.wait(_RETRY_SECONDS if due else None)
            return self._running or (bool(self._waiting) and not self._late())

    def _late(self) -> bool:
        return not self._running and time.monotonic() > self._stop_at

    def _take(self) -> list[Write[Any]]:
        group: list[Write[Any]] = []
        room_bytes = GROUP_BYTES
        with self._changed:
            while self._waiting and (not group or self._waiting[0].size_bytes <= room_bytes):
                write = self._waiting.popleft()
                if write.done.set_running_or_notify_cancel():
                    group.append(write)
                    room_bytes -= write.size_bytes
        return group

    def _transact(self, group: list[Write[Any]]) -> None:
        """Commit the group in one transaction.

        Without a group, but with trouble, an empty commit tells whether it is over: those who
        refuse uploads while there is trouble bring no write that could end it.
        """
        while group or self.trouble:
            results: list[Any] = []
            try:
                self._begin()
                for write in group:
                    results.append(write.apply(self._connection))  # noqa: PERF401 - counts them
            except sqlite3.Error as error:
                self._fail(group, self._not_written(error))
                return
            except Exception as error:  # noqa: BLE001 - a caller's own fault fails that caller only
                self._rollback()
                group.pop(len(results)).done.set_exception(error)
            else:
                self._commit(group, results)
                return

    def _begin(self) -> None:
        """Take the database's write lock, however long another program holds it."""
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or self._late():
                    raise
                self.trouble = "another program holds the database's write lock"
            else:
                return

    def _commit(self, group: Sequence[Write[Any]], results: Sequence[Any]) -> None:
        try:
            if not group:
                self._connection.execute("UPDATE log SET identity = identity")
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            certain = _code(error) in _CERTAINLY_ROLLED_BACK
            self._fail(group, (self._not_written if certain else self._unknown)(error))
            return
        self.trouble = None
        self.commits += 1
        for write, result in zip(group, results, strict=True):
            self._uncopied_bytes += write.size_bytes + _OVERHEAD_BYTES
            if write.scrubs:
                self._unscrubbed.append((write, result))
            else:
                write.done.set_result(result)

    def _not_written(self, error: sqlite3.Error) -> NotWrittenError:
        self.trouble = f"the database cannot be written: {error}"
        failure = NotWrittenError(f"The database cannot be written: {error}.")
        failure.__cause__ = error
        return failure

    def _unknown(self, error: sqlite3.Error) -> OutcomeUnknownError:
        self.trouble = f"the database did not confirm a commit: {error}"
        failure = OutcomeUnknownError(f"The database did not confirm a commit: {error}.")
        failure.__cause__ = error
        return failure

    def _fail(self, group: Sequence[Write[Any]], failure: GatewayError) -> None:
        self._rollback()
        for write in group:
            write.done.set_exception(failure)

    def _rollback(self) -> None:
        # SQLite rolls back by itself after most errors; a ROLLBACK that fails has nothing to undo.
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _refuse_waiting(self) -> None:
        while group := self._take():
            for write in group:
                write.done.set_exception(_stopped())

    def _checkpoint_if_due(self) -> None:
        due = self._unscrubbed or self._uncopied_bytes >= _CHECKPOINT_BYTES
        if due and time.monotonic() >= self._checkpoint_from:
            self._checkpoint("TRUNCATE" if self._unscrubbed else "RESTART")

    def _checkpoint(self, mode: str) -> None:
        """Copy the write-ahead log into the database; TRUNCATE empties its file as well.

        Unlike SQLite's own checkpoints these wait for readers, which are short: a stream of
        readers that overlap would otherwise let the write-ahead log grow for ever.
        """
        try:
            busy = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
        except sqlite3.Error as error:
            self.trouble = f"the write-ahead log cannot be copied: {error}"
            busy = True
        if busy:
            self._checkpoint_from = time.monotonic() + _RETRY_SECONDS
            return
        self._uncopied_bytes = 0
        for write, result in self._unscrubbed:
            write.done.set_result(result)
        self._unscrubbed.clear()


def _settle(settled: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not settled.done():
        settled.set_result(None)


def _stopped() -> NotWrittenError:
    return NotWrittenError("The log stopped before it came to this.")


def _code(error: sqlite3.Error) -> int:
    return error.sqlite_errorcode & _PRIMARY_CODE
