"""Readers: a few threads with a connection each, so that no read waits for the writer.

Hides which thread answers. A query is one short transaction and returns plain values: a reader
that stays open keeps the write-ahead log from being reused (one held 306 MB).
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from app.errors import LogUnavailableError
from app.log.sqlite.database import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Result = TypeVar("Result")

# More were not faster: most of a read is a copy out of the page cache.
READERS = 4


class Readers:
    """Threads that answer queries, each within the timeout."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Open the connections; blocks."""
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-log-reader")
        for _ in range(READERS):
            connection = connect(self._path)
            self._idle.put(connection)
            connection.execute("PRAGMA query_only = ON")

    def stop(self) -> None:
        """Drop the waiting queries, finish the others and close; blocks for those."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()

    async def run(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Call `query` with a connection in a thread and return its result.

        Raises:
            LogUnavailableError: The log is stopped, too slow, or cannot be read.
        """
        answer = self._submit(query)
        try:
            await asyncio.wait({answer}, timeout=self._timeout_seconds)
        finally:
            answered = answer.done() and not answer.cancelled()
            answer.cancel()
        if not answered:
            raise LogUnavailableError("The log did not answer a read.")
        try:
            return answer.result()
        except sqlite3.Error as error:
            raise LogUnavailableError(f"The database cannot be read: {error}.") from error

    def _submit(self, query: Callable[[sqlite3.Connection], Result]) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        try:
            if self._threads is not None:
                return loop.run_in_executor(self._threads, self._answer, query)
        # An executor that is shut down raises it.
        except RuntimeError as error:
            raise LogUnavailableError("The log is stopped.") from error
        raise LogUnavailableError("The log is not started.")

    def _answer(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._idle.get()
        try:
            connection.execute("BEGIN")
            return query(connection)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._idle.put(connection)
