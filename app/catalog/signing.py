"""The place where signing began, and the images that a signed event announced: rows of the catalog.

Hides that only a gateway with keys has these tables. Its catalog is of another schema than one that
was filled without keys, or with others: events were judged by them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from app.catalog import moves
from app.events.trust import SigningStart
from app.log import Position

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

SCHEMA = """
CREATE TABLE signing (sequence INTEGER NOT NULL, ends TEXT NOT NULL);
CREATE TABLE signed (image_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
# So many hexadecimal digits of a fingerprint fit SQLite's `user_version`, of 32 bits with a sign.
_DIGITS = 7


def version(schema_version: int, fingerprint: str) -> int:
    """Return the version of the schema of a catalog that these keys fill."""
    return schema_version + 4 * int(fingerprint[:_DIGITS] or "0", 16)


def add_signed(connection: sqlite3.Connection, image_id: str) -> None:
    """Remember, until signing begins, that a signed event announced an image."""
    connection.execute(
        "INSERT OR IGNORE INTO signed SELECT ? WHERE NOT EXISTS (SELECT 1 FROM signing)",
        (image_id,),
    )


def begin(connection: sqlite3.Connection, start: SigningStart) -> None:
    """Save where signing began, unless that is known: the first place counts.

    An unsigned event from before may have announced an image at a place that was still to come. Its
    fact goes too, so that an event of a gateway can still announce what is stored there.
    """
    if connection.execute("SELECT 1 FROM signing").fetchone():
        return
    row = (start.sequence, json.dumps(start.ends))
    connection.execute("INSERT INTO signing VALUES (?, ?)", row)
    for image_id in set(_announced_early(connection, start)):
        connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        connection.execute("DELETE FROM places WHERE image_id = ?", (image_id,))
        connection.execute("DELETE FROM facts WHERE image_id = ?", (image_id,))
        moves.forget(connection, image_id)
    connection.execute("DELETE FROM signed")


def _announced_early(connection: sqlite3.Connection, start: SigningStart) -> Iterator[str]:
    """Yield the images of unsigned events with a record at, or behind, the end of its partition."""
    for partition, offset, image_id in connection.execute(
        "SELECT partition, offset, image_id FROM places"
        " WHERE image_id NOT IN (SELECT image_id FROM signed)"
    ):
        if not start.is_before(Position(partition, offset)):
            yield image_id


def start_of(row: tuple[int, str]) -> SigningStart:
    """Return the place in a row."""
    sequence, ends = row
    return SigningStart(sequence, tuple(json.loads(ends)))


def clear(connection: sqlite3.Connection) -> None:
    """Forget where signing began, and what was signed."""
    connection.execute("DELETE FROM signing")
    connection.execute("DELETE FROM signed")
