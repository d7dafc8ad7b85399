"""Records, counters and cursors as rows: every statement that is not about the file itself.

Hides how a record is stored in its partition's table, and how its bytes are removed from it. Every
function works within its caller's transaction.

`secure_delete` overwrites deleted rows, but when SQLite merges a page with its neighbours, it
leaves copies of the rows that moved, and erasing those rows later does not reach the copies (seen
in up to 38 of 130 trims). So only erased rows are ever moved: an erased record stays as a tombstone
row, which also tells gone from missing, and tombstones are deleted only far from the first
remaining record. The price: the last part of an erased record, less than a page, is used again only
after a trim has passed it by some thousand records.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from app.errors import RecordGoneError, RecordMissingError
from app.log import Batch, Bounds, Position, Record, StoredRecord
from app.log.sqlite.database import PAGE_BYTES, table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, MutableMapping

Ends: TypeAlias = "MutableMapping[tuple[str, int], int]"

_COLUMNS = '"offset", timestamp_ms, key, headers, value'
_ERASE = "SET erased = 1, timestamp_ms = 0, key = NULL, headers = NULL, value = NULL"
# A step passes at most so many offsets in one transaction, even if all of them are erased.
_OFFSETS_A_STEP = 10_000
# A merge moves rows of the page that shrank and of two beside it, each of 10 bytes or more.
_TOMBSTONES_KEPT = 3 * PAGE_BYTES // 10


def load_ends(connection: sqlite3.Connection) -> Ends:
    """Return the offset of each partition's next record.

    It is counted in memory and written with the records, so that it passes over offsets that were
    rolled back, and never depends on the remaining rows.
    """
    rows = connection.execute("SELECT topic, partition, end_offset FROM partitions")
    return {(topic, partition): end for topic, partition, end in rows}


@dataclass(frozen=True, slots=True)
class Appended:
    """Where and when records were appended, in the order given."""

    positions: list[Position]
    timestamp_ms: int

    def stored(self, record: Record, position: Position) -> StoredRecord:
        """Return one of the records as it is read."""
        value = None if record.value is None else bytes(record.value)
        return StoredRecord(position, record.key, value, record.headers, self.timestamp_ms)


def append(
    connection: sqlite3.Connection, ends: Ends, topic: str, records: Iterable[tuple[int, Record]]
) -> Appended:
    """Insert records, each into the partition beside it."""
    now_ms = time.time_ns() // 1_000_000
    positions = []
    for partition, record in records:
        offset = ends[topic, partition]
        ends[topic, partition] = offset + 1
        connection.execute(
            f"INSERT INTO {table(topic, partition)} ({_COLUMNS})"  # noqa: S608 - see `table`
            " VALUES (?, ?, ?, ?, ?)",
            (offset, now_ms, record.key, _dump_headers(record), record.value),
        )
        positions.append(Position(partition, offset))
    connection.executemany(
        "UPDATE partitions SET end_offset = ? WHERE topic = ? AND partition = ?",
        {(ends[topic, position.partition], topic, position.partition) for position in positions},
    )
    return Appended(positions, now_ms)


def bounds(connection: sqlite3.Connection, topic: str, partition: int) -> Bounds:
    """Return the bounds of a partition that exists."""
    row = connection.execute(
        "SELECT start_offset, end_offset FROM partitions WHERE topic = ? AND partition = ?",
        (topic, partition),
    ).fetchone()
    return Bounds(*row)


def read(connection: sqlite3.Connection, topic: str, position: Position) -> StoredRecord:
    """Return one record.

    Raises:
        RecordMissingError: Nothing was ever written there.
        RecordGoneError: It was erased or trimmed.
    """
    limits = bounds(connection, topic, position.partition)
    if 0 <= position.offset < limits.start:
        raise RecordGoneError(f"The record {position} was trimmed.")
    row = connection.execute(
        f"SELECT erased, {_COLUMNS} FROM {table(topic, position.partition)}"  # noqa: S608 - see `table`
        ' WHERE "offset" = ?',
        (position.offset,),
    ).fetchone()
    if row is None:
        raise RecordMissingError(f"Nothing was ever written at {position}.")
    if row[0]:
        error = RecordGoneError(f"The record {position} was erased.")
        error.is_erased = True
        raise error
    return _stored(position.partition, row[1:])


def step(
    connection: sqlite3.Connection, topic: str, partition: int, start: int, size_bytes: int
) -> Batch:
    """Return the records from `start` on: at least one, if there is one, and about `size_bytes`.

    Raises:
        RecordGoneError: `start` is before the first offset that can be read.
        RecordMissingError: `start` is beyond the end.
    """
    limits = bounds(connection, topic, partition)
    if start < limits.start:
        raise RecordGoneError(f"The records before {partition}:{limits.start} were trimmed.")
    if start > limits.end:
        raise RecordMissingError(f"The partition ends at {partition}:{limits.end}.")
    next_offset = min(limits.end, start + _OFFSETS_A_STEP)
    records = []
    for row in connection.execute(
        f"SELECT {_COLUMNS} FROM {table(topic, partition)}"  # noqa: S608 - see `table`
        ' WHERE "offset" >= ? AND "offset" < ? AND NOT erased ORDER BY "offset"',
        (start, next_offset),
    ):
        records.append(_stored(partition, row))
        size_bytes -= sum(len(part) for part in row[2:] if part is not None)
        if size_bytes <= 0:
            next_offset = records[-1].position.offset + 1
            break
    return Batch(tuple(records), next_offset, limits.end)


def erase(connection: sqlite3.Connection, topic: str, positions: Iterable[Position]) -> None:
    """Turn records into tombstones; positions without a record are ignored."""
    for position in positions:
        connection.execute(
            f'UPDATE {table(topic, position.partition)} {_ERASE} WHERE "offset" = ? AND NOT erased',
            (position.offset,),
        )


def move_start(connection: sqlite3.Connection, topic: str, partition: int, start: int) -> None:
    """Make the records below `start` unreadable; the start never moves back."""
    connection.execute(
        "UPDATE partitions SET start_offset = max(start_offset, ?)"
        " WHERE topic = ? AND partition = ?",
        (start, topic, partition),
    )


def sweep(connection: sqlite3.Connection, topic: str, partition: int, size_bytes: int) -> bool:
    """Remove about `size_bytes` of records below the start; return whether more may remain."""
    limits = bounds(connection, topic, partition)
    rows = table(topic, partition)
    swept = None
    for offset, length in connection.execute(
        f'SELECT "offset", length(value) FROM {rows}'  # noqa: S608 - see `table`
        ' WHERE "offset" < ? AND NOT erased'
        ' ORDER BY "offset" LIMIT ?',
        (limits.start, _OFFSETS_A_STEP),
    ).fetchall():
        swept = offset
        size_bytes -= length or 0
        if size_bytes <= 0:
            break
    if swept is not None:
        connection.execute(f'UPDATE {rows} {_ERASE} WHERE "offset" <= ? AND NOT erased', (swept,))
        connection.execute(
            f'DELETE FROM {rows} WHERE "offset" < ?',  # noqa: S608 - see `table`
            (swept - _TOMBSTONES_KEPT,),
        )
    return swept is not None


def commit(
    connection: sqlite3.Connection, cursor: str, topic: str, partition: int, offset: int
) -> None:
    """Store a cursor's offset."""
    connection.execute(
        "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)", (cursor, topic, partition, offset)
    )


def committed(
    connection: sqlite3.Connection, cursor: str, topic: str, partition: int
) -> int | None:
    """Return a cursor's offset, or None."""
    row = connection.execute(
        'SELECT "offset" FROM cursors WHERE cursor = ? AND topic = ? AND partition = ?',
        (cursor, topic, partition),
    ).fetchone()
    return None if row is None else int(row[0])


def _dump_headers(record: Record) -> str:
    # Latin-1 maps every byte to the character of its number: exact, and readable where it is text.
    return json.dumps([(name, value.decode("latin-1")) for name, value in record.headers])


def _stored(partition: int, row: tuple[int, int, bytes | None, str, bytes | None]) -> StoredRecord:
    offset, timestamp_ms, key, headers, value = row
    return StoredRecord(
        position=Position(partition, offset),
        key=key,
        value=value,
        headers=tuple((name, text.encode("latin-1")) for name, text in json.loads(headers)),
        timestamp_ms=timestamp_ms,
    )
