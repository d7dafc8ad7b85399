"""The ids that images had in other logs: rows of the catalog.

Hides which move counts, so that every replica decides alike: the first by which an id is known. An
import that was interrupted, or two at once, may move an image twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from app.events.event import ImageDeleted, ImageStored

SCHEMA = """
CREATE TABLE former_ids (
    former_id TEXT PRIMARY KEY, image_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX former_ids_of_image ON former_ids (image_id);
"""
# The id in this log of the image with the id `?1`, which any image had or has.
ID_NOW = "coalesce((SELECT image_id FROM former_ids WHERE former_id = ?1), ?1)"
_KNOWN_OTHERWISE = (
    "SELECT 1 FROM former_ids WHERE former_id = ?1 AND image_id != ?2"
    " UNION ALL SELECT 1 FROM images WHERE id = ?1"
    " UNION ALL SELECT 1 FROM deleted WHERE id = ?1"
)


def counts(connection: sqlite3.Connection, event: ImageStored) -> bool:
    """Tell whether an image is known by none of its former ids but through a copy of this event."""
    former_ids = event.move.former_ids if event.move else ()
    return not any(
        connection.execute(_KNOWN_OTHERWISE, (each, event.image_id)).fetchone()
        for each in former_ids
    )


def add(connection: sqlite3.Connection, event: ImageStored) -> None:
    """Remember the former ids of an image."""
    if event.move is not None:
        connection.executemany(
            "INSERT OR IGNORE INTO former_ids VALUES (?, ?)",
            [(each, event.image_id) for each in event.move.former_ids],
        )


def resolved(connection: sqlite3.Connection, event: ImageDeleted) -> ImageDeleted:
    """Return a deletion by the id that the image has in this log."""
    [image_id] = connection.execute(f"SELECT {ID_NOW}", (event.image_id,)).fetchone()
    return event if image_id == event.image_id else replace(event, image_id=image_id)


def forget(connection: sqlite3.Connection, image_id: str) -> list[str]:
    """Forget the former ids of an image, and return them."""
    forgotten = connection.execute(
        "DELETE FROM former_ids WHERE image_id = ? RETURNING former_id", (image_id,)
    )
    return [former_id for (former_id,) in forgotten]


def clear(connection: sqlite3.Connection) -> None:
    """Forget all of them."""
    connection.execute("DELETE FROM former_ids")
