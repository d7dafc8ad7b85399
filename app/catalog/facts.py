"""Facts in the one total order, each once: rows of the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.catalog.images import COLUMNS, LIVING, CatalogImage, image_of

if TYPE_CHECKING:
    import sqlite3

    from app.events.event import ImageDeleted, ImageStored

SCHEMA = """
CREATE TABLE facts (
    sequence INTEGER PRIMARY KEY, type TEXT NOT NULL, image_id TEXT NOT NULL, owner TEXT,
    source TEXT, UNIQUE (image_id, type)
);
CREATE INDEX facts_of_owner ON facts (owner, sequence);
CREATE INDEX facts_of_source ON facts (source, sequence) WHERE source IS NOT NULL;
CREATE INDEX facts_of_both ON facts (owner, source, sequence) WHERE source IS NOT NULL;
"""
_FACTS = (
    f"SELECT facts.sequence, type, image_id, {COLUMNS} FROM facts"  # noqa: S608 - constants
    f" LEFT JOIN images ON images.id = image_id AND {LIVING} WHERE"
)
_ABOVE = "facts.sequence > ? ORDER BY facts.sequence LIMIT ?"
# A page of facts above a sequence number, where a condition is met, in the columns that `fact_of`
# reads.
PAGE = f"{_FACTS} {{condition}}{_ABOVE}"

# Whether an image was stored.
STORED = "SELECT 1 FROM facts WHERE image_id = ? AND type = 'image.stored'"


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that was applied; `image` is None if the image was deleted or has expired since."""

    sequence: int
    type: str
    image_id: str
    image: CatalogImage | None


def fact_of(row: tuple[Any, ...]) -> Fact:
    """Return the fact in a row of `PAGE`."""
    sequence, kind, image_id, *image = row
    is_listed = image[0] is not None
    return Fact(sequence, kind, image_id, image_of(tuple(image)) if is_listed else None)


def add_stored(connection: sqlite3.Connection, sequence: int, event: ImageStored) -> bool:
    """Add that an image was stored or moved here, and tell whether the fact is new.

    The first copy of an event counts, and nothing counts after a deletion.
    """
    added = connection.execute(
        "INSERT OR IGNORE INTO facts (sequence, type, image_id, owner, source)"
        " SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM facts WHERE image_id = ?3)",
        (
            sequence,
            event.type,
            event.image_id,
            event.info.owner or None,
            event.info.source or None,
        ),
    )
    return added.rowcount > 0


def is_known(connection: sqlite3.Connection, image_id: str) -> bool:
    """Tell whether there is a fact about an image."""
    found = connection.execute("SELECT 1 FROM facts WHERE image_id = ?", (image_id,))
    return found.fetchone() is not None


def add_deleted(connection: sqlite3.Connection, sequence: int, event: ImageDeleted) -> None:
    """Add that an image was deleted, once it is among them; the first copy of the event counts.

    The source that it was stored with counts before what the deletion says.
    """
    connection.execute(
        "INSERT OR IGNORE INTO facts (sequence, type, image_id, owner, source)"
        " SELECT ?1, 'image.deleted', id, owner,"
        " CASE WHEN EXISTS (SELECT 1 FROM facts WHERE image_id = ?2)"
        " THEN (SELECT source FROM facts WHERE image_id = ?2) ELSE ?3 END"
        " FROM deleted WHERE id = ?2",
        (sequence, event.image_id, event.source or None),
    )


def clear(connection: sqlite3.Connection) -> None:
    """Remove every fact."""
    connection.execute("DELETE FROM facts")
