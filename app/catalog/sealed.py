"""The listed images that are sealed, and which of them are locked: rows of the catalog.

Hides that a row leaves with its image, and where the key of an image is now: it may have been
wrapped again since its records stated it. Of the seal nothing else is stored here: the event has
it. An image whose key was erased is locked for ever: its deletion is among the next events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.catalog import images, loose_keys, moves, tokens
from app.log import Position
from app.records.address import Address

if TYPE_CHECKING:
    import sqlite3

    from app.events.event import ImageStored
    from app.events.rewrapped import ImageRewrapped
    from app.events.sequenced import SequencedEvent

SCHEMA = """
CREATE TABLE sealed (
    image_id TEXT PRIMARY KEY, kek TEXT NOT NULL, is_locked INTEGER NOT NULL,
    is_gone INTEGER NOT NULL, key_offset INTEGER, key_cookie BLOB
) WITHOUT ROWID;
CREATE INDEX locked ON sealed (image_id) WHERE is_locked;
CREATE INDEX sealed_by_key ON sealed (key_cookie) WHERE key_cookie IS NOT NULL;
CREATE TRIGGER sealed_removed AFTER DELETE ON images BEGIN
    DELETE FROM sealed WHERE image_id = old.id;
END;
"""
_STATE = "is_locked, is_gone, key_offset, key_cookie"
# The columns that `seal_of` reads; no row if the image is not listed, or not sealed.
SEAL = f"SELECT {_STATE} FROM sealed WHERE image_id = ?"  # noqa: S608 - constants
# The columns that `locked_of` reads, of locked images whose key may be there.
LOCKED = (
    f"SELECT sequence, {_STATE} FROM images JOIN sealed ON image_id = images.id"  # noqa: S608
    " WHERE sequence > ? AND image_id IN"
    " (SELECT image_id FROM sealed WHERE is_locked AND NOT is_gone) ORDER BY sequence LIMIT ?"
)
LOCKED_OF = (
    f"SELECT sequence, {_STATE} FROM images JOIN sealed ON image_id = images.id"  # noqa: S608
    " WHERE image_id IN (SELECT value FROM json_each(?)) AND is_locked AND NOT is_gone"
)
COUNT_LOCKED = "SELECT count(*) FROM sealed WHERE is_locked AND NOT is_gone"
# How many images each key-encryption key holds.
USAGE = "SELECT kek, count(*) FROM sealed WHERE NOT is_gone GROUP BY kek ORDER BY kek"
# The columns that `keyed_of` reads: images whose key is in a record of its own.
KEYED = (
    "SELECT sequence, image_id, key_offset, key_cookie FROM images JOIN sealed ON image_id = id"
    " WHERE sequence > ? AND key_cookie IS NOT NULL AND NOT is_gone ORDER BY sequence LIMIT ?"
)
# How many images have their key in a record of its own, and how many have it beside them.
COUNT_KEYED = (
    "SELECT count(key_cookie) FILTER (WHERE NOT is_gone), count(*) - count(key_cookie) FROM sealed"
)


@dataclass(frozen=True, slots=True)
class CatalogSeal:
    """The seal of a listed image.

    Args:
        is_locked: Whether its event is still to be opened.
        is_gone: Whether its key was erased.
        key: Where its key is now, if that is in a record of its own.
    """

    is_locked: bool
    is_gone: bool
    key: Address | None


@dataclass(frozen=True, slots=True)
class KeyedImage:
    """A listed image whose key is in a record of its own, and where that is now."""

    sequence: int
    id: str
    key: Address


def seal_of(row: tuple[Any, ...]) -> CatalogSeal:
    """Return the seal in a row of `SEAL`."""
    is_locked, is_gone, offset, cookie = row
    key = None if cookie is None else Address(Position(0, offset), cookie)
    return CatalogSeal(bool(is_locked), bool(is_gone), key)


def locked_of(row: tuple[Any, ...]) -> tuple[int, Address | None]:
    """Return the sequence of a locked image, and where its key is now, in a row of `LOCKED`."""
    return int(row[0]), seal_of(row[1:]).key


def keyed_of(row: tuple[Any, ...]) -> KeyedImage:
    """Return the image in a row of `KEYED`."""
    sequence, image_id, offset, cookie = row
    return KeyedImage(sequence, image_id, Address(Position(0, offset), cookie))


def add(connection: sqlite3.Connection, event: ImageStored, sequenced: SequencedEvent) -> None:
    """Remember that a listed image is sealed, if it is."""
    if event.sealing is None:
        return
    key = event.sealing.key
    at = (key.position.offset, key.cookie) if isinstance(key, Address) else (None, None)
    connection.execute(
        "INSERT OR IGNORE INTO sealed SELECT id, ?2, ?3, ?4, ?5, ?6 FROM images WHERE id = ?1",
        (event.image_id, sequenced.kek, sequenced.is_locked, sequenced.is_gone, *at),
    )


def rewrap(connection: sqlite3.Connection, event: ImageRewrapped, found: SequencedEvent) -> None:
    """Note where the key of an image is from now on; the first event counts that has it moved."""
    row = connection.execute(SEAL, (event.image_id,)).fetchone()
    now = seal_of(row).key if row else None
    if now == event.old and now != event.new:
        connection.execute(
            "UPDATE sealed SET key_offset = ?2, key_cookie = ?3, kek = ?4, is_gone = ?5"
            " WHERE image_id = ?1",
            (
                event.image_id,
                event.new.position.offset,
                event.new.cookie,
                found.kek,
                found.is_gone,
            ),
        )
        loose_keys.add(connection, event.old, found.timestamp_ms + loose_keys.GRACE_MS)
    elif now != event.new:
        loose_keys.add(connection, event.new, found.timestamp_ms + loose_keys.GRACE_MS)


def unlock(connection: sqlite3.Connection, event: ImageStored, found: SequencedEvent) -> None:
    """Note what is known now of a locked image: its properties, once its event is opened."""
    image = (found.sequence, event.image_id)
    if not found.is_locked:
        connection.execute(
            "UPDATE images SET info = ?3 WHERE sequence = ?1 AND id = ?2",
            (*image, images.row_of(event.info)),
        )
    connection.execute(
        "UPDATE sealed SET is_locked = ?3, is_gone = ?4, kek = coalesce(nullif(?5, ''), kek)"
        " WHERE image_id IN (SELECT id FROM images WHERE sequence = ?1 AND id = ?2)",
        (*image, found.is_locked, found.is_gone, found.kek),
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
