"""The one writer: a thread that commits all waiting writes in one transaction.

Hides group commit, which writes can still be withdrawn, and what a failed commit means.

A waiting write can be withdrawn and certainly leaves no trace; one in a transaction cannot. An
error before COMMIT rolls back; an error of COMMIT itself is certain only where SQLite says that the
commit did not reach the file: https://www.sqlite.org/rescode.html.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from app.errors import GatewayError, NotWrittenError, OutcomeUnknownError
from app.log.sqlite.checkpoints import RETRY_SECONDS, Checkpoints
from app.log.sqlite.database import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from app.log.sqlite.write import Write

Result = TypeVar("Result")

# A transaction of this size takes tens of milliseconds, against a few for its fsync alone.
GROUP_BYTES = 8 * 1024 * 1024
_CACHE_KIB = 2 * GROUP_BYTES // 1024

# The low byte of an extended result code.
_PRIMARY_CODE = 0xFF
# COMMIT writes the commit frame last: without room for it, or without the lock, there is none.
_CERTAINLY_ROLLED_BACK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY})


class Writer:
    """Commits writes in the order in which they were submitted.

    Attributes:
        trouble: Why the last transaction or checkpoint failed, as a clause, or None.
    """

    def __init__(self, path: Path) -> None:
        self.trouble: str | None = None
        self._path = path
        self._waiting: deque[Write[Any]] = deque()
        self._checkpoints = Checkpoints()
        self._changed = threading.Condition()
        self._running = False
        self._stop_at = 0.0
        self._connection: sqlite3.Connection
        # A daemon: a disk that never answers must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name="sqlite-log-writer", daemon=True)

    def start(self) -> None:
        """Open the database and start the thread; blocks while opening."""
        self._connection = connect(self._path, _CACHE_KIB)
        self._running = True
        self._thread.start()

    def stop(self, within_seconds: float) -> bool:
        """Commit the waiting writes, refuse the rest after the bound, and close; blocks.

        Returns:
            Whether the thread ended. One that waits for the disk cannot be ended.
        """
        with self._changed:
            self._stop_at = time.monotonic() + within_seconds
            self._running = False
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(within_seconds + RETRY_SECONDS)
        # Again, in place of a thread that hangs.
        self._refuse_waiting()
        return not self._thread.is_alive()

    def submit(self, write: Write[Result]) -> None:
        """Queue a write; its `done` is resolved in the writer's thread.

        Raises:
            NotWrittenError: The writer is not running.
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
        """Submit a write and return its result; cancelling the caller does not stop the write.

        `then` is called with the outcome in the event loop, even if the caller has left.

        Raises:
            NotWrittenError: Nothing was written, nor will be.
            OutcomeUnknownError: The commit was under way at the end of the time, or failed.
        """
        self.submit(write)
        written = asyncio.wrap_future(write.done)
        written.add_done_callback(then)
        await asyncio.wait({written}, timeout=within_seconds)
        if self.withdraw(write):
            raise NotWrittenError("The log was too busy to write the records in time.")
        if write.done.done():
            return write.done.result()
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.add_done_callback(partial(_settle, settled))
        raise OutcomeUnknownError("The log did not confirm the records in time.", (), settled)

    def withdraw(self, write: Write[Any]) -> bool:
        """Remove a write if it still waits; return whether it did."""
        with self._changed:
            if not write.done.cancel():
                return False
            self._waiting.remove(write)
            return True

    def _run(self) -> None:
        while self._wait():
            self._transact(self._next_group())
            self.trouble = self._checkpoints.run_if_due(self._connection) or self.trouble
        self._refuse_waiting()
        self._checkpoints.run_last(self._connection)
        self._connection.close()

    def _wait(self) -> bool:
        """Wait for a write or a retry; return False once it is time to end."""
        with self._changed:
            if self._running and not self._waiting:
                due = self.trouble is not None or self._checkpoints.awaited
                self._changed.wait(RETRY_SECONDS if due else None)
            return self._running or (bool(self._waiting) and not self._late())

    def _late(self) -> bool:
        return not self._running and time.monotonic() > self._stop_at

    def _next_group(self) -> list[Write[Any]]:
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

        Without a group, but with trouble, an empty commit tells whether the trouble is over:
        callers that refuse uploads while there is trouble submit no write that could end it.
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
            except Exception as error:  # noqa: BLE001 - a caller's own mistake fails that caller only
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
        for write, result in zip(group, results, strict=True):
            self._checkpoints.committed(write, result)

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
        while group := self._next_group():
            for write in group:
                write.refuse()


def is_failed(future: asyncio.Future[Any]) -> bool:
    """Tell whether a write failed, and so keep asyncio from reporting the failure as unread."""
    return future.cancelled() or future.exception() is not None


def _settle(settled: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not settled.done():
        settled.set_result(None)


def _code(error: sqlite3.Error) -> int:
    return error.sqlite_errorcode & _PRIMARY_CODE
