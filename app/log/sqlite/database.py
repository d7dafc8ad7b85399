"""The database file: its schema, and every connection to it.

Hides where the file is, which pragmas make it a log, and how tables are named. Refuses another
program's database, one of a newer imagegate, and a damaged one, and changes none of them.

Sources: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html,
https://www.sqlite.org/fileformat2.html#the_database_header.
"""

from __future__ import annotations

import sqlite3
import struct
import uuid
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DATABASE_NAME = "log.sqlite3"
SCHEMA_VERSION = 1
# "IMGT".
APPLICATION_ID = 0x494D4754

# Measured with 1 KB facts and images of 50 KB to 1 MB: 4 KiB pages halve the rate of large images,
# 64 KiB pages add nothing to it and make the smallest commit write 128 KiB.
PAGE_BYTES = 16_384
# How long a connection waits for another program's lock before it reports a busy database.
BUSY_TIMEOUT_SECONDS = 0.25
# Room for some groups between two checkpoints; a longer file is cut back to this.
WAL_KEPT_BYTES = 32 * 1024 * 1024

# The magic at 0, the application id at 68.
_HEADER = struct.Struct(">16s52xI")
_MAGIC = b"SQLite format 3\0"

_SCHEMA = (
    "CREATE TABLE log (identity TEXT NOT NULL)",
    (
        "CREATE TABLE partitions (topic TEXT NOT NULL, partition INTEGER NOT NULL,"
        " start_offset INTEGER NOT NULL DEFAULT 0, end_offset INTEGER NOT NULL DEFAULT 0,"
        " PRIMARY KEY (topic, partition)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE cursors (cursor TEXT NOT NULL, topic TEXT NOT NULL,"
        ' partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,'
        " PRIMARY KEY (cursor, topic, partition)) WITHOUT ROWID"
    ),
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def table(topic: str, partition: int) -> str:
    """Return the quoted name of a partition's table, the name of Kafka's folder for it.

    Each partition has a table of its own, so that every insert is at the right edge of a B-tree:
    pages fill up, and no insert ever moves another record.
    """
    return f'"{topic}-{partition}"'


def prepare(path: Path, partitions: Mapping[str, int]) -> str:
    """Create the database, or check it and add the partitions that are missing.

    Returns:
        The identity that the database was created with.

    Raises:
        ConfigurationError: The file is another program's, newer than this imagegate, damaged, or
            cannot be written.
    """
    try:
        _check_header(path)
        with closing(connect(path)) as connection:
            _check_version(connection, path)
            _create(connection)
            _add_partitions(connection, partitions)
            # Bytes erased just before a crash may still be in the write-ahead log.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            identity: str = connection.execute("SELECT identity FROM log").fetchone()[0]
            return identity
    # TypeError: no row holds the identity.
    except (OSError, sqlite3.Error, TypeError) as error:
        raise ConfigurationError(
            f"The database {path} cannot be used ({error}). Make it readable and writable, restore"
            " it from a backup, or start with an empty data folder."
        ) from error


def connect(path: Path, cache_kib: int = 2_000) -> sqlite3.Connection:
    """Open a connection in autocommit mode; the caller closes it.

    Several threads may use it in turn, never two at once.
    """
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        # The writer runs checkpoints, after acknowledgements.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check_header(path: Path) -> None:
    # Read without SQLite, which would checkpoint, and so change, a foreign database on closing it.
    with suppress(FileNotFoundError), path.open("rb") as file:
        head = file.read(_HEADER.size)
        if head and (len(head) < _HEADER.size or _HEADER.unpack(head) != (_MAGIC, APPLICATION_ID)):
            raise ConfigurationError(
                f"{path} is not an image log: it is damaged, or belongs to another program. Restore"
                " it from a backup, move it away, or choose another data folder."
            )


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} was written by a newer imagegate (schema version {version}, this one knows"
            f" {SCHEMA_VERSION}). Use that imagegate or a later one, or another data folder."
        )


def _create(connection: sqlite3.Connection) -> None:
    if not connection.execute("PRAGMA user_version").fetchone()[0]:
        # Still in rollback mode, so that the main file has its header from the first commit on.
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO log VALUES (?)", (str(uuid.uuid4()),))
        connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def _add_partitions(connection: sqlite3.Connection, partitions: Mapping[str, int]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for topic, count in partitions.items():
        for partition in range(count):
            connection.execute(
                "INSERT OR IGNORE INTO partitions (topic, partition) VALUES (?, ?)",
                (topic, partition),
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table(topic, partition)} ("
                ' "offset" INTEGER PRIMARY KEY, erased INTEGER NOT NULL DEFAULT 0,'
                " timestamp_ms INTEGER NOT NULL, key BLOB, headers TEXT, value BLOB)"
            )
    connection.execute("COMMIT")
