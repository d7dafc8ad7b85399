"""The catalog's SQLite file, replaced when it is damaged.

Hides the threads that use SQLite, and that the file may be deleted: it is rebuilt from the log. A
failing or full disk, or another program's lock, is not damage.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/rescode.html.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.errors import CatalogDamagedError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# A power failure may cost the last transactions, which the feed then applies again.
_PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;"
# A query takes 0.1 ms, and a page of 1,000 images 6: pages must not hold up the rest.
_READERS = 4
# Faults of the file: damaged, no database, not the tables that were expected.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
# The low byte of an extended result code.
_PRIMARY_CODE = 0xFF
# A long query of a reader is not waited for: the next try comes soon.
_SCRUB_BUSY_MS = 50
# For a backup or a curious operator that holds the file's lock briefly.
_BUSY_TIMEOUT_SECONDS = 10


class Database:
    """The file at `path`, with the tables of `schema`; open it before use, close it after."""

    def __init__(self, path: Path, schema: str, schema_version: int) -> None:
        self._path = path
        self._schema = schema
        self._schema_version = schema_version
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        # Raised with each new file: a thread whose connection is older opens another.
        self._generation = 0
        self._damage = ""
        self._writing = ThreadPoolExecutor(1, "catalog-writer")
        self._reading = ThreadPoolExecutor(_READERS, "catalog-reader")

    async def open(self, load: Callable[[sqlite3.Connection], T]) -> T:
        """Open the file, and return what `load` reads from it.

        A damaged file, or one with another schema version, is deleted and replaced.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        return await self._run(self._writing, lambda: self._open(load))

    async def close(self) -> None:
        """Close every connection, once running queries have ended."""
        await asyncio.to_thread(self._reading.shutdown)
        await asyncio.to_thread(self._writing.shutdown)
        for connection in self._connections:
            connection.close()

    def check(self) -> None:
        """Check that no read or write has met damage since the file was opened.

        Raises:
            CatalogDamagedError: The file is damaged: `discard` it.
        """
        if self._damage:
            raise CatalogDamagedError(f"The catalog is damaged: {self._damage}.")

    async def discard(self) -> None:
        """Delete the file, and open a new one."""
        await self._run(self._writing, self._replace)

    async def query(
        self, parse: Callable[[tuple[Any, ...]], T], statement: str, *parameters: object
    ) -> list[T]:
        """Return each row that a statement finds, parsed by `parse` in a reader's thread.

        Raises:
            CatalogDamagedError: The file is damaged.
        """

        def query() -> list[T]:
            return [parse(row) for row in self._connection().execute(statement, parameters)]

        return await self._run(self._reading, query)

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Apply a change in one transaction, in the writer's thread; return what it returns.

        Raises:
            CatalogDamagedError: The file is damaged.
            sqlite3.Error: The change failed for another reason; nothing of it was written.
        """

        def write() -> T:
            # Leaving the block commits; an error in the block or in the commit rolls back.
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                return change(connection)

        return await self._run(self._writing, write)

    async def scrub(self) -> bool:
        """Empty the write-ahead log, where deleted rows are still to be read; tell if it worked."""

        def scrub() -> bool:
            connection = self._connection()
            connection.execute(f"PRAGMA busy_timeout = {_SCRUB_BUSY_MS}")
            try:
                [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError:
                # The disk is full or failing, which the next transaction reports.
                return False
            finally:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_SECONDS * 1000}")
            return not busy

        return await self._run(self._writing, scrub)

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        generation = self._generation
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            if generation == self._generation:
                self._damage = str(error)
            raise CatalogDamagedError("The catalog is damaged; it is being rebuilt.") from error

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        if getattr(self._local, "generation", None) != self._generation:
            self._local.generation = self._generation
            self._local.connection = sqlite3.connect(
                self._path,
                timeout=_BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            self._connections.append(self._local.connection)
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _open(self, load: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._prepare()
            return load(self._connection())
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise ConfigurationError(f"{self._path} cannot be opened: {error}.") from error
            logger.warning("catalog_replaced", reason=str(error))
            self._replace()
            return load(self._connection())

    def _prepare(self) -> None:
        connection = self._connection()
        connection.executescript(_PRAGMAS)
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(
                f"BEGIN; {self._schema} PRAGMA user_version = {self._schema_version}; COMMIT;"
            )
        elif version != self._schema_version:
            self._replace()

    def _replace(self) -> None:
        """Replace the files; `close` closes the connections of other threads."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._local.generation = None
        self._prepare()
        # Other threads open the new file only now that it has tables.
        self._generation += 1
        self._local.generation = self._generation
        self._damage = ""


def _is_damage(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & _PRIMARY_CODE in _DAMAGE
