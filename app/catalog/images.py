"""Listed images, and where in the log their records are: rows of the catalog."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from app.catalog import loose_keys, moves
from app.imaging.info import ImageInfo, Visibility
from app.records import address

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from app.events.event import ImageDeleted, ImageStored

SCHEMA = """
CREATE TABLE images (
    sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, created_at_ms INTEGER NOT NULL,
    owner TEXT, visibility TEXT, bytes INTEGER NOT NULL, info BLOB NOT NULL, former_ids TEXT,
    expires_at INTEGER, source TEXT, upload BLOB NOT NULL
);
CREATE INDEX images_of_owner ON images (owner, sequence);
CREATE INDEX images_of_source ON images (source, sequence) WHERE source IS NOT NULL;
CREATE INDEX images_of_both ON images (owner, source, sequence) WHERE source IS NOT NULL;
CREATE INDEX images_of_upload ON images (upload, owner, sequence);
CREATE INDEX images_by_expiry ON images (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE places (
    partition INTEGER NOT NULL, offset INTEGER NOT NULL, image_id TEXT NOT NULL,
    PRIMARY KEY (partition, offset, image_id)
) WITHOUT ROWID;
CREATE INDEX places_of_image ON places (image_id);
CREATE TABLE usage (
    owner TEXT PRIMARY KEY, images INTEGER NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER image_listed AFTER INSERT ON images WHEN new.owner IS NOT NULL BEGIN
    INSERT INTO usage VALUES (new.owner, 1, new.bytes)
    ON CONFLICT DO UPDATE SET images = images + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER image_removed AFTER DELETE ON images WHEN old.owner IS NOT NULL BEGIN
    UPDATE usage SET images = images - 1, bytes = bytes - old.bytes WHERE owner = old.owner;
    DELETE FROM usage WHERE owner = old.owner AND images = 0;
END;
CREATE TABLE deleted (
    id TEXT PRIMARY KEY, owner TEXT, visibility TEXT
) WITHOUT ROWID;
"""
# The columns that `image_of` reads, in this order.
COLUMNS = "images.id, images.sequence, created_at_ms, info, former_ids"
# The first image that was stored at or after a time. Times of the log's clock may step back.
FIRST_SINCE = "SELECT min(sequence) FROM images WHERE created_at_ms >= ?"
# The condition for an image that has not expired at a time, in seconds since 1970.
LIVING = "(expires_at IS NULL OR expires_at > ?)"
EXPIRED = "expires_at <= ? ORDER BY expires_at LIMIT ?"
# The condition for images that an owner, or nobody who is known, made of an upload.
OF_UPLOAD = f"upload = ? AND owner IS ? AND {LIVING} ORDER BY sequence DESC LIMIT ?"
# The condition for an image by an id that it has, or had in another log.
BY_ID = f"images.id = {moves.ID_NOW}"
# The columns that `known_of` reads: one row, for any id.
KNOWN = (
    f"SELECT given.id, images.id, deleted.id, coalesce(images.owner, deleted.owner),"  # noqa: S608
    f" coalesce(images.visibility, deleted.visibility) FROM (SELECT {moves.ID_NOW} AS id) AS given"
    " LEFT JOIN images ON images.id = given.id LEFT JOIN deleted ON deleted.id = given.id"
)
# The columns that `usage_of` reads.
USAGE = "SELECT images, bytes FROM usage WHERE owner = ?"
# A row has the values of all properties, in their order. One that is added as
# the last may be missing in a row; any other change needs another version of the schema.
_PROPERTIES = len(ImageInfo.__slots__)
_values = attrgetter(*ImageInfo.__slots__)
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_REMOVED_AT = ImageInfo.__slots__.index("metadata_removed")
_VISIBILITY_AT = ImageInfo.__slots__.index("visibility")
# Gateways look once a minute for what is to be erased.
_SPREAD_SECONDS = 600


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """A listed image. `sequence` is the offset of the event that announced it.

    `former_ids` are the ids that it had in other logs, the last one last.
    """

    id: str
    sequence: int
    created_at_ms: int
    row: bytes
    former_ids: tuple[str, ...] = ()

    @property
    def info(self) -> ImageInfo:
        """Its properties, parsed each time: most readers of the catalog never need them."""
        return _info(self.row)


@dataclass(frozen=True, slots=True)
class Ownership:
    """The owner and the visibility of an image that is listed, or was deleted."""

    owner: str
    visibility: Visibility | None
    is_deleted: bool


@dataclass(frozen=True, slots=True)
class Known:
    """The id that an image has in this log, and whose it is if it is listed or deleted."""

    image_id: str
    ownership: Ownership | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What the listed images of an owner take in the log."""

    images: int = 0
    stored_bytes: int = 0


def usage_of(row: tuple[Any, ...]) -> Usage:
    """Return what is in a row of `USAGE`."""
    return Usage(*row)


def known_of(row: tuple[Any, ...]) -> Known:
    """Return what is in a row of `KNOWN`."""
    image_id, listed, deleted, owner, visibility = row
    if listed is None and deleted is None:
        return Known(image_id, None)
    visible = Visibility(visibility) if visibility else None
    return Known(image_id, Ownership(owner or "", visible, deleted is not None))


def image_of(row: tuple[Any, ...]) -> CatalogImage:
    """Return the image in a row of `COLUMNS`."""
    image_id, sequence, created_at_ms, info, former_ids = row
    former = tuple(former_ids.split(",")) if former_ids else ()
    return CatalogImage(image_id, sequence, created_at_ms, info, former)


def _info(stored: bytes) -> ImageInfo:
    """Return the properties in a row, as the feed checked them when it wrote them.

    Not checked again: the rules may have become stricter, and one old row would fail every list.
    """
    values = json.loads(stored)[:_PROPERTIES]
    values[_REMOVED_AT] = tuple(values[_REMOVED_AT])
    if values[_VISIBILITY_AT] is not None:
        values[_VISIBILITY_AT] = Visibility(values[_VISIBILITY_AT])
    return ImageInfo(*values)


def row_of(info: ImageInfo) -> bytes:
    """Return the properties as a row has them: without their names, which are half of the bytes."""
    return _JSON.encode(_values(info)).encode()


def add(
    connection: sqlite3.Connection, sequence: int, timestamp_ms: int, event: ImageStored
) -> CatalogImage | None:
    """List an image, unless it is deleted; return it as it is listed."""
    created_at_ms = event.move.created_at_ms if event.move else timestamp_ms
    former_ids = event.move.former_ids if event.move else ()
    row = row_of(event.info)
    added = connection.execute(
        "INSERT INTO images"
        " (sequence, id, created_at_ms, owner, visibility, bytes, info, former_ids, expires_at,"
        " source, upload)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11"
        " WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE id = ?2)",
        (
            sequence,
            event.image_id,
            created_at_ms,
            event.info.owner or None,
            event.info.visibility,
            event.info.stored_bytes,
            row,
            ",".join(former_ids) if event.move else None,
            event.info.expires_at,
            event.info.source or None,
            bytes.fromhex(event.info.received_digest),
        ),
    )
    connection.executemany("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", _places(event))
    if not added.rowcount:
        return None
    return CatalogImage(event.image_id, sequence, created_at_ms, row, tuple(former_ids))


def delete(connection: sqlite3.Connection, event: ImageDeleted, timestamp_ms: int) -> None:
    """Remove an image from the list, and remember for ever that it is deleted.

    Its key is to be erased from then on, if that is in a record of its own.

    What is listed of its owner and visibility counts before what the event says, which a gateway
    that knew no owners left out. Its former ids are those of a deleted image from now on.
    """
    listed = connection.execute(
        "SELECT owner, visibility FROM images WHERE id = ?", (event.image_id,)
    )
    owner, visibility = listed.fetchone() or (event.owner or None, event.visibility)
    ids = moves.ids_of(connection, event)
    connection.executemany(
        "INSERT OR IGNORE INTO deleted (id, owner, visibility) VALUES (?, ?, ?)",
        [(each, owner, visibility) for each in ids],
    )
    loose_keys.release(connection, ids, timestamp_ms)
    # By a former id it is listed where it came back into a log in which it was before.
    connection.executemany("DELETE FROM images WHERE id = ?", [(each,) for each in ids])
    connection.executemany("DELETE FROM places WHERE image_id = ?", [(each,) for each in ids])


def forget_before(connection: sqlite3.Connection, starts: Mapping[int, int]) -> None:
    """Remove from the list the images with a record below the start of its partition."""
    for place in starts.items():
        gone = connection.execute(
            "SELECT image_id FROM places WHERE partition = ? AND offset < ?", place
        ).fetchall()
        loose_keys.release(connection, [image_id for (image_id,) in gone], _soon_ms())
        connection.executemany("DELETE FROM images WHERE id = ?", gone)
        connection.execute("DELETE FROM places WHERE partition = ? AND offset < ?", place)


def forget_gone(
    connection: sqlite3.Connection, image_ids: Iterable[str], starts: Mapping[int, int]
) -> None:
    """Remove from the list those of these images that have a record below a partition's start."""
    for image_id in image_ids:
        places = connection.execute(
            "SELECT partition, offset FROM places WHERE image_id = ?", (image_id,)
        )
        if any(offset < starts.get(partition, 0) for partition, offset in places.fetchall()):
            loose_keys.release(connection, [image_id], _soon_ms())
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
            connection.execute("DELETE FROM places WHERE image_id = ?", (image_id,))


def clear(connection: sqlite3.Connection, *, keeps_deleted: bool) -> None:
    """List nothing; deleted images stay deleted, if so wanted."""
    connection.execute("DELETE FROM images")
    connection.execute("DELETE FROM places")
    if not keeps_deleted:
        connection.execute("DELETE FROM deleted")


def _soon_ms() -> int:
    """Return when the key of an image that has left the log is to be erased.

    Each replica says another time, so that one erases it and the others notice that.
    """
    return int((time.time() + random.uniform(0, _SPREAD_SECONDS)) * 1000)  # noqa: S311


def _places(event: ImageStored) -> Iterator[tuple[int, int, str]]:
    """Yield the place of the head, and of each partition's first chunk, which expires first."""
    head = address.parse(event.image_id).position
    yield head.partition, head.offset, event.image_id
    first: dict[int, int] = {}
    for chunk in sorted(event.chunks):
        first.setdefault(chunk.partition, chunk.offset)
    for partition, offset in first.items():
        yield partition, offset, event.image_id
