"""The queryable view of the facts: what images there are, in which order, which are deleted.

Hides the tables. Metadata only, never image bytes. It is disposable: a file that is damaged, or of
another layout, is made anew (`database`), and the feed fills it again from the first event on. The
feed alone writes, each batch of facts in one transaction with the offset that follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from app.catalog.database import Database
from app.catalog.progress import Progress
from app.events.event import ImageDeleted, ImageStored
from app.records import address
from app.records.image import INFO

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from app.events.event import Event
    from app.imaging.info import ImageInfo

# A file of another layout, older or newer, is not migrated but filled again.
_LAYOUT_VERSION = 3
_LAYOUT = """
CREATE TABLE progress (
    identity TEXT NOT NULL, next_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL, last_fingerprint BLOB NOT NULL
);
CREATE TABLE facts (
    sequence INTEGER PRIMARY KEY, type TEXT NOT NULL, image_id TEXT NOT NULL,
    UNIQUE (image_id, type)
);
CREATE TABLE images (
    sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, created_at_ms INTEGER NOT NULL,
    info BLOB NOT NULL
);
CREATE TABLE places (
    partition INTEGER NOT NULL, offset INTEGER NOT NULL, image_id TEXT NOT NULL,
    PRIMARY KEY (partition, offset, image_id)
) WITHOUT ROWID;
CREATE INDEX places_of_image ON places (image_id);
CREATE TABLE deleted (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """An image that is listed. `sequence` is the offset of the event that said so."""

    id: str
    sequence: int
    created_at_ms: int
    info: ImageInfo


@dataclass(frozen=True, slots=True)
class Fact:
    """An event that was applied; `image` is None where the image is deleted by now."""

    sequence: int
    type: str
    image_id: str
    image: CatalogImage | None


@dataclass(frozen=True, slots=True)
class AppliedEvent:
    """An event at its place in the one total order; `timestamp_ms` is the log's."""

    sequence: int
    timestamp_ms: int
    event: Event


class Catalog:
    """The database at `path`; open it before use, close it after."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _LAYOUT, _LAYOUT_VERSION)

    async def open(self) -> Progress:
        """Open the database, anew if it is damaged, and return how far it has come.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        return await self._database.open(_progress)

    async def close(self) -> None:
        """Close every connection, once what is running has ended."""
        await self._database.close()

    def check(self) -> None:
        """Check that no read or write has met damage.

        Raises:
            CatalogDamagedError: One has; `discard` the file and fill it again.
        """
        self._database.check()

    async def discard(self) -> None:
        """Throw the file away, and open a new one."""
        await self._database.discard()

    async def reset(self, identity: str) -> Progress:
        """Forget what is listed; the catalog is to be filled from another log, or again.

        What was deleted is remembered: a topic that was made anew, or lost its end, may lack the
        event, and ids are never given twice.
        """
        progress = Progress(identity)

        def reset(connection: sqlite3.Connection) -> None:
            for table in ("facts", "images", "places"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
            _advance(connection, progress)

        await self._database.write(reset)
        return progress

    async def apply(self, events: Sequence[AppliedEvent], progress: Progress) -> None:
        """Apply events and advance, in one transaction."""

        def apply(connection: sqlite3.Connection) -> None:
            for applied in events:
                _apply(connection, applied)
            _advance(connection, progress)

        await self._database.write(apply)

    async def forget_before(self, starts: Mapping[int, int]) -> None:
        """List no longer what has a record below the start of its partition.

        Args:
            starts: The first offset that can be read, by partition of `images`.
        """

        def forget(connection: sqlite3.Connection) -> None:
            for place in starts.items():
                connection.execute(
                    "DELETE FROM images WHERE id IN"
                    " (SELECT image_id FROM places WHERE partition = ? AND offset < ?)",
                    place,
                )
                connection.execute("DELETE FROM places WHERE partition = ? AND offset < ?", place)

        await self._database.write(forget)

    async def image(self, image_id: str) -> CatalogImage | None:
        """Return an image that is listed."""
        images = await self._images("WHERE id = ?", image_id)
        return images[0] if images else None

    async def is_deleted(self, image_id: str) -> bool:
        """Tell whether an image was ever deleted."""
        return bool(
            await self._database.query(tuple, "SELECT 1 FROM deleted WHERE id = ?", image_id)
        )

    async def newest(self, limit: int, before: int | None = None) -> list[CatalogImage]:
        """Return images in descending order of sequence, below `before`."""
        if before is None:
            return await self._images("ORDER BY sequence DESC LIMIT ?", limit)
        return await self._images(
            "WHERE sequence < ? ORDER BY sequence DESC LIMIT ?", before, limit
        )

    async def facts(self, after: int, limit: int) -> list[Fact]:
        """Return facts in ascending order of sequence, above `after`."""
        return await self._database.query(
            _fact,
            "SELECT facts.sequence, type, image_id, images.sequence, created_at_ms, info FROM facts"
            " LEFT JOIN images ON images.id = image_id"
            " WHERE facts.sequence > ? ORDER BY facts.sequence LIMIT ?",
            after,
            limit,
        )

    async def _images(self, condition: str, *parameters: object) -> list[CatalogImage]:
        return await self._database.query(
            _image,
            f"SELECT id, sequence, created_at_ms, info FROM images {condition}",  # noqa: S608
            *parameters,
        )


def _apply(connection: sqlite3.Connection, applied: AppliedEvent) -> None:
    """Apply one event: the first copy of it counts, and a deletion is final."""
    match applied.event:
        case ImageStored(image_id, info) as event:
            stored = connection.execute(
                "INSERT OR IGNORE INTO facts (sequence, type, image_id)"
                " SELECT ?1, 'image.stored', ?2 WHERE NOT EXISTS"
                " (SELECT 1 FROM facts WHERE image_id = ?2 AND type = 'image.deleted')",
                (applied.sequence, image_id),
            ).rowcount
            if stored:
                connection.execute(
                    "INSERT INTO images (sequence, id, created_at_ms, info) SELECT ?1, ?2, ?3, ?4"
                    " WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE id = ?2)",
                    (applied.sequence, image_id, applied.timestamp_ms, INFO.dump_json(info)),
                )
                connection.executemany(
                    "INSERT OR IGNORE INTO places VALUES (?, ?, ?)", _places(event)
                )
        case ImageDeleted(image_id):
            connection.execute(
                "INSERT OR IGNORE INTO facts (sequence, type, image_id)"
                " VALUES (?, 'image.deleted', ?)",
                (applied.sequence, image_id),
            )
            connection.execute("INSERT OR IGNORE INTO deleted (id) VALUES (?)", (image_id,))
            connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
            connection.execute("DELETE FROM places WHERE image_id = ?", (image_id,))
        case _:
            assert_never(applied.event)


def _places(event: ImageStored) -> Iterator[tuple[int, int, str]]:
    """Yield the head's place, and that of the first chunk in each partition, which leaves first."""
    head = address.parse(event.image_id).position
    yield head.partition, head.offset, event.image_id
    first: dict[int, int] = {}
    for chunk in sorted(event.chunks):
        first.setdefault(chunk.partition, chunk.offset)
    for partition, offset in first.items():
        yield partition, offset, event.image_id


def _progress(connection: sqlite3.Connection) -> Progress:
    row = connection.execute("SELECT * FROM progress").fetchone()
    return Progress(*row) if row else Progress("")


def _advance(connection: sqlite3.Connection, progress: Progress) -> None:
    connection.execute("DELETE FROM progress")
    connection.execute(
        "INSERT INTO progress VALUES (?, ?, ?, ?)",
        (
            progress.identity,
            progress.next_offset,
            progress.last_offset,
            progress.last_fingerprint,
        ),
    )


def _image(row: tuple[Any, ...]) -> CatalogImage:
    image_id, sequence, created_at_ms, info = row
    return CatalogImage(image_id, sequence, created_at_ms, INFO.validate_json(info))


def _fact(row: tuple[Any, ...]) -> Fact:
    sequence, kind, image_id, *rest = row
    listed = rest[0] is not None
    return Fact(sequence, kind, image_id, _image((image_id, *rest)) if listed else None)
