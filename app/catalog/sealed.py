"""The listed images that are sealed, and which of them are locked: rows of the catalog.

Hides that a row leaves with its image. Of the seal nothing else is stored here: the event has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.catalog import moves, tokens
from app.records.image import INFO

if TYPE_CHECKING:
    import sqlite3

    from app.events.event import ImageStored

SCHEMA = """
CREATE TABLE sealed (
    image_id TEXT PRIMARY KEY, kek TEXT NOT NULL, is_locked INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX locked ON sealed (image_id) WHERE is_locked;
CREATE TRIGGER sealed_removed AFTER DELETE ON images BEGIN
    DELETE FROM sealed WHERE image_id = old.id;
END;
"""
# Whether a sealed image is locked; no row if it is not listed, or not sealed.
LOCK = "SELECT is_locked FROM sealed WHERE image_id = ?"
# The sequences of locked images, above one.
LOCKED = (
    "SELECT sequence FROM images WHERE sequence > ?"
    " AND id IN (SELECT image_id FROM sealed WHERE is_locked) ORDER BY sequence LIMIT ?"
)
COUNT_LOCKED = "SELECT count(*) FROM sealed WHERE is_locked"
# How many images each key-encryption key holds.
USAGE = "SELECT kek, count(*) FROM sealed GROUP BY kek ORDER BY kek"


def add(connection: sqlite3.Connection, event: ImageStored, *, is_locked: bool) -> None:
    """Remember that a listed image is sealed, if it is."""
    if event.sealing is not None:
        connection.execute(
            "INSERT OR IGNORE INTO sealed SELECT id, ?2, ?3 FROM images WHERE id = ?1",
            (event.image_id, event.sealing.wrapped.kek, is_locked),
        )


def unlock(connection: sqlite3.Connection, sequence: int, event: ImageStored) -> None:
    """Give a locked image the properties that its event has, once they are opened."""
    image = (sequence, event.image_id)
    connection.execute(
        "UPDATE images SET info = ?3 WHERE sequence = ?1 AND id = ?2",
        (*image, INFO.dump_json(event.info)),
    )
    connection.execute(
        "UPDATE sealed SET is_locked = 0 WHERE image_id IN"
        " (SELECT id FROM images WHERE sequence = ?1 AND id = ?2)",
        image,
    )


def give_way(connection: sqlite3.Connection, image_id: str) -> None:
    """Forget an image unless its event was opened: it may be one that no gateway wrote."""
    not_opened = (
        "SELECT sequence FROM images WHERE id = ?"
        " AND NOT EXISTS (SELECT 1 FROM sealed WHERE image_id = id AND NOT is_locked)"
    )
    for (sequence,) in connection.execute(not_opened, (image_id,)).fetchall():
        reject(connection, sequence, image_id)


def reject(connection: sqlite3.Connection, sequence: int, image_id: str) -> None:
    """Forget a locked image: it turned out that no gateway sealed its event."""
    image = (sequence, image_id)
    removed = connection.execute("DELETE FROM images WHERE sequence = ? AND id = ?", image)
    if not removed.rowcount:
        return
    connection.execute("DELETE FROM places WHERE image_id = ?", (image_id,))
    connection.execute("DELETE FROM facts WHERE sequence = ?", (sequence,))
    moves.forget(connection, image_id)
    tokens.forget(connection, image_id)
