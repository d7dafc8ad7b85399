"""The catalog: which images there are, in which order, and which are deleted.

Hides the tables, which `images`, `facts`, `moves`, `claims`, `tokens`, `sealed`, `loose_keys` and
`progress` define. It holds metadata only, never image bytes, and is disposable: a damaged file, or
one with another schema version, is deleted (`database`) and rebuilt by the feed from the first
event. The feed alone writes facts, each batch in one transaction with the offset that follows it.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, TypeVar

from app.catalog import (
    claims,
    facts,
    images,
    judge,
    loose_keys,
    moves,
    progress,
    sealed,
    signing,
    tokens,
)
from app.catalog.database import Database
from app.catalog.loose_keys import KeyScan
from app.catalog.progress import Progress
from app.catalog.remembered import Remembered, changed_by
from app.events.event import ImageDeleted, ImageStored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from app.catalog.facts import Fact
    from app.catalog.images import CatalogImage, Known, Usage
    from app.catalog.loose_keys import ReadKey
    from app.catalog.sealed import CatalogSeal, KeyedImage
    from app.catalog.tokens import Holder
    from app.events.idempotency import FormerToken
    from app.events.sequenced import SequencedEvent
    from app.events.trust import SigningStart
    from app.records.address import Address

T = TypeVar("T")

# A file with another version, older or newer, is not migrated but rebuilt.
_SCHEMA_VERSION = 12
# It takes 20 ms beside four busy readers, which as many deletions as come share.
_SCRUB_SECONDS = 1.0
# Sequences are offsets of a log, which have 63 bits.
_ABOVE_ALL = 2**63 - 1
_SCHEMA = progress.SCHEMA + facts.SCHEMA + images.SCHEMA + moves.SCHEMA + claims.SCHEMA
_SCHEMA += sealed.SCHEMA + loose_keys.SCHEMA + tokens.SCHEMA


class Catalog:
    """The database at `path`; open it before use, close it after.

    Args:
        path: The file.
        fingerprint: That of the keys by which events are judged (`Signatures`). A file that was
            filled with others, or without, has another schema version.
        keeps_deleted: Whether deleted images are remembered when it is filled from another log.
    """

    def __init__(self, path: Path, fingerprint: str = "", *, keeps_deleted: bool = True) -> None:
        self._keeps_deleted = keeps_deleted
        self._is_scrubbed, self._scrubbed_at = True, -math.inf
        self._has_keys = bool(fingerprint)
        schema = _SCHEMA + (signing.SCHEMA if fingerprint else "")
        self._database = Database(path, schema, signing.version(_SCHEMA_VERSION, fingerprint))
        self._known: Remembered[Known] = Remembered()
        self._seals: Remembered[CatalogSeal] = Remembered()

    async def open(self) -> Progress:
        """Open the database, replacing a file that cannot be used, and return its progress.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        return await self._database.open(progress.load)

    async def close(self) -> None:
        """Close every connection, once running queries have ended."""
        await self._database.close()

    def check(self) -> None:
        """Check that no read or write has met damage.

        Raises:
            CatalogDamagedError: The file is damaged: `discard` it and fill the new one.
        """
        self._database.check()

    async def discard(self) -> None:
        """Delete the file, and open a new one."""
        try:
            await self._database.discard()
        finally:
            self._forget()

    async def reset(self, identity: str) -> Progress:
        """Empty the catalog, to fill it from another log or again, and return its progress.

        A gateway remembers deleted images: a topic that was replaced, or lost its end, may lack the
        event. For a reader, what was deleted in one log may well be in another that it came from.
        """
        start = Progress(identity)

        def reset(connection: sqlite3.Connection) -> None:
            facts.clear(connection)
            images.clear(connection, keeps_deleted=self._keeps_deleted)
            moves.clear(connection)
            claims.clear(connection)
            loose_keys.clear(connection)
            tokens.clear(connection)
            if self._has_keys:
                signing.clear(connection)
            progress.save(connection, start)

        await self._change(reset)
        return start

    async def apply(
        self,
        events: Sequence[SequencedEvent],
        reached: Progress,
        starts: Mapping[int, int] | None = None,
    ) -> list[CatalogImage]:
        """Apply events and save the progress, in one transaction.

        Args:
            events: The events.
            reached: The progress that they make.
            starts: Where some were moved here, the first offset that can be read, by partition of
                `images`.

        Returns:
            The images that were listed by them.
        """

        def apply(connection: sqlite3.Connection) -> list[CatalogImage]:
            applied = [judge.apply(connection, event, starts or {}) for event in events]
            progress.save(connection, reached)
            return [each for each in applied if each is not None]

        listed = await self._change(apply, changed_by(events))
        if any(isinstance(each.event, ImageDeleted) for each in events):
            self._is_scrubbed = False
        return listed

    async def scrub(self) -> None:
        """Leave nothing in the files of what was deleted, soon: call it again and again.

        Raises:
            CatalogDamagedError: The file is damaged.
        """
        if not self._is_scrubbed and time.monotonic() - self._scrubbed_at > _SCRUB_SECONDS:
            self._is_scrubbed = await self._database.scrub()
            self._scrubbed_at = time.monotonic()

    async def forget_before(self, starts: Mapping[int, int]) -> None:
        """Remove from the list the images with a record below the start of its partition.

        Args:
            starts: The first offset that can be read, by partition of `images`.
        """
        await self._change(lambda connection: images.forget_before(connection, starts))

    async def image(self, image_id: str) -> CatalogImage | None:
        """Return a listed image by an id that it has, or had in another log; None if it is not."""
        found = await self._images(f"WHERE {images.BY_ID} AND {images.LIVING}", image_id, _now())
        return found[0] if found else None

    async def entry(self, image_id: str) -> CatalogImage | None:
        """Return an image as `image` does, even if it has expired."""
        found = await self._images(f"WHERE {images.BY_ID}", image_id)
        return found[0] if found else None

    async def expired(self, now: float, limit: int) -> list[CatalogImage]:
        """Return images that have expired by a clock, in seconds since 1970, the oldest first."""
        return await self._images(f"WHERE {images.EXPIRED}", now, limit)

    async def is_listed(self, image_id: str) -> bool:
        """Tell whether an image is listed."""
        return bool(
            await self._database.query(tuple, "SELECT 1 FROM images WHERE id = ?", image_id)
        )

    async def is_announced(self, image_id: str) -> bool:
        """Tell whether an event announced an image, listed or not, and counts."""
        return bool(await self._database.query(tuple, facts.STORED, image_id))

    async def seal_of(self, image_id: str) -> CatalogSeal | None:
        """Return the seal of a listed image; None if no sealed image with this id is listed."""
        if (remembered := self._seals.get(image_id)) is not None:
            return remembered
        changes = self._seals.changes
        found = await self._database.query(sealed.seal_of, sealed.SEAL, image_id)
        if found:
            self._seals.keep(image_id, found[0], changes)
        return found[0] if found else None

    async def locked(self, after: int, limit: int) -> list[tuple[int, Address | None]]:
        """Return the sequences of locked images in ascending order, above `after`.

        With each is where its key is now, if that is in a record of its own.
        """
        return await self._database.query(sealed.locked_of, sealed.LOCKED, after, limit)

    async def locked_of(self, image_ids: Sequence[str]) -> list[tuple[int, Address | None]]:
        """Return those of these images that are locked, as `locked` does."""
        ids = json.dumps(image_ids)
        return await self._database.query(sealed.locked_of, sealed.LOCKED_OF, ids)

    async def count_locked(self) -> int:
        """Return how many images are locked, for want of a key that may still come."""
        [count] = await self._database.query(lambda row: int(row[0]), sealed.COUNT_LOCKED)
        return count

    async def unlock(self, events: Sequence[SequencedEvent]) -> None:
        """Note what is known now of locked images, whose events were looked at again."""

        def unlock(connection: sqlite3.Connection) -> None:
            for each in events:
                if isinstance(each.event, ImageStored):
                    sealed.unlock(connection, each.event, each)

        if events:
            await self._change(unlock, changed_by(events))

    async def keyed(self, after: int, limit: int) -> list[KeyedImage]:
        """Return images whose key is in a record of its own, in order, above a sequence."""
        return await self._database.query(sealed.keyed_of, sealed.KEYED, after, limit)

    async def count_keyed(self) -> tuple[int, int]:
        """Return how many images have their key in a record of its own, and beside them."""
        [found] = await self._database.query(tuple, sealed.COUNT_KEYED)
        return found

    async def key_scan(self) -> KeyScan:
        """Return how far `image-keys` was read."""
        found = await self._database.query(lambda row: KeyScan(*row), loose_keys.SCAN)
        return found[0] if found else KeyScan()

    async def keys_read(self, keys: Sequence[ReadKey], reached: KeyScan) -> None:
        """Note records of `image-keys` in their order, and how far it was read with them."""
        await self._database.write(lambda connection: loose_keys.read(connection, keys, reached))

    async def first_loose_ms(self) -> int | None:
        """Return when the first key that no image names is to be erased, by the log's clock."""
        await self._database.write(loose_keys.forget_named)
        [first] = await self._database.query(lambda row: row[0], loose_keys.FIRST_DUE)
        return None if first is None else int(first)

    async def loose_keys(self, now_ms: int, after: int, limit: int) -> list[Address]:
        """Return keys that are to be erased by now, in the order of their offsets."""
        due = (now_ms, after, limit)
        return await self._database.query(loose_keys.address_of, loose_keys.DUE, *due)

    async def keys_erased(self, keys: Sequence[Address]) -> None:
        """Note that keys are erased."""
        await self._database.write(lambda connection: loose_keys.forget(connection, keys))

    async def reject(self, event: SequencedEvent) -> None:
        """Forget a locked image that an event of no gateway announced."""
        if isinstance(event.event, ImageStored):
            image = (event.sequence, event.event.image_id)
            await self._change(lambda connection: sealed.reject(connection, *image))

    async def sealed_by(self) -> dict[str, int]:
        """Return how many listed images each key-encryption key holds, by its id."""
        return dict(await self._database.query(tuple, sealed.USAGE))

    async def uses_of(self, link: str) -> int:
        """Return how many uses of an upload link were claimed; 0 long after it has ended."""
        found = await self._database.query(
            lambda row: int(row[0]), "SELECT uses FROM claims WHERE link = ?", link
        )
        return found[0] if found else 0

    async def holder_of(self, token: str) -> Holder | None:
        """Return the image that has an idempotency token, deleted or not; None if none has it.

        A token whose time is over by this gateway's clock may have another image; the log decides.
        """
        found = await self._database.query(tokens.holder_of, tokens.HOLDER, token, _now() * 1000)
        return found[0] if found else None

    async def winner_over(self, image_id: str, token: str) -> Holder | None:
        """Return the image to which another has lost its token; None if it has not lost it."""
        if await self.lost_at(image_id) is None:
            return None
        # By the log's clock, whatever the time is here.
        found = await self._database.query(tokens.holder_of, tokens.HOLDER, token, 0)
        return found[0] if found else None

    async def token_of(self, image_id: str) -> FormerToken | None:
        """Return the idempotency token of an image, unless its time is long over."""
        found = await self._database.query(tokens.former_of, tokens.OF_IMAGE, image_id)
        return found[0] if found else None

    async def lost(self, limit: int) -> list[ImageDeleted]:
        """Return the deletions of images that lost their token and are still in the log."""
        return await self._database.query(tokens.deletion_of, tokens.LOST, limit)

    async def all_lost(self) -> list[tuple[str, int]]:
        """Return those images, with the sequences of their events."""
        return await self._database.query(tuple, tokens.ALL_LOST)

    async def lost_at(self, image_id: str) -> int | None:
        """Return the sequence of the event of an image that lost its token; None of another."""
        found = await self._database.query(lambda row: int(row[0]), tokens.LOST_AT, image_id)
        return found[0] if found else None

    async def signing_start(self) -> SigningStart | None:
        """Return where signing began; None if it has not, or there are no keys."""
        if not self._has_keys:
            return None
        found = await self._database.query(signing.start_of, "SELECT sequence, ends FROM signing")
        return found[0] if found else None

    async def is_deleted(self, image_id: str) -> bool:
        """Tell whether an image was ever deleted."""
        return bool(
            await self._database.query(tuple, "SELECT 1 FROM deleted WHERE id = ?", image_id)
        )

    async def known(self, image_id: str) -> Known:
        """Return the id that an image has now, and whose it is if it is listed or deleted."""
        if (remembered := self._known.get(image_id)) is not None:
            return remembered
        changes = self._known.changes
        [found] = await self._database.query(images.known_of, images.KNOWN, image_id)
        # Changes name neither former ids nor those of images that are unknown.
        if found.ownership is not None and found.image_id == image_id:
            self._known.keep(image_id, found, changes)
        return found

    async def usage(self, owner: str) -> Usage:
        """Return what the listed images of an owner take."""
        found = await self._database.query(images.usage_of, images.USAGE, owner)
        return found[0] if found else images.Usage()

    async def newest(
        self,
        limit: int,
        before: int | None = None,
        owner: str | None = None,
        source: str | None = None,
    ) -> list[CatalogImage]:
        """Return images in descending order of sequence, below `before`.

        All of them, or only those of an owner, of a source, or of both.
        """
        below = f"{images.LIVING} AND sequence < ? ORDER BY sequence DESC LIMIT ?"
        before = _ABOVE_ALL if before is None else before
        condition, of = _only(owner=owner, source=source)
        return await self._images(f"WHERE {condition}{below}", *of, _now(), before, limit)

    async def of_upload(self, owner: str, digest: str, limit: int) -> list[CatalogImage]:
        """Return images that an owner made of the upload with a SHA-256, the newest first."""
        found = bytes.fromhex(digest), owner or None
        return await self._images(f"WHERE {images.OF_UPLOAD}", *found, _now(), limit)

    async def of_owner(self, owner: str, after: int, limit: int) -> list[CatalogImage]:
        """Return images of an owner in ascending order of sequence, expired ones included."""
        return await self._images(
            "WHERE owner = ? AND sequence > ? ORDER BY sequence LIMIT ?", owner, after, limit
        )

    async def first_since(self, timestamp_ms: int) -> int | None:
        """Return the lowest sequence of the listed images stored at or after a time, if any was."""
        [first] = await self._database.query(lambda row: row[0], images.FIRST_SINCE, timestamp_ms)
        return None if first is None else int(first)

    async def facts(
        self, after: int, limit: int, owner: str | None = None, source: str | None = None
    ) -> list[Fact]:
        """Return facts in ascending order of sequence, above `after`.

        All of them, or only those of images of an owner, of a source, or of both.
        """
        condition, of = _only(**{"facts.owner": owner, "facts.source": source})
        page = facts.PAGE.format(condition=condition)
        return await self._database.query(facts.fact_of, page, _now(), *of, after, limit)

    async def _change(
        self,
        change: Callable[[sqlite3.Connection], T],
        image_ids: Collection[str] | None = None,
    ) -> T:
        """Change what is known of images: of these, or of any."""
        try:
            return await self._database.write(change)
        finally:
            self._forget(image_ids)

    def _forget(self, image_ids: Collection[str] | None = None) -> None:
        self._known.forget(image_ids)
        self._seals.forget(image_ids)

    async def _images(self, condition: str, *parameters: object) -> list[CatalogImage]:
        return await self._database.query(
            images.image_of,
            f"SELECT {images.COLUMNS} FROM images {condition}",  # noqa: S608 - constants
            *parameters,
        )


def _only(**wanted: str | None) -> tuple[str, list[str]]:
    """Return the condition that columns have these values, where they are not None, and those."""
    given = {column: value for column, value in wanted.items() if value is not None}
    return "".join(f"{column} = ? AND " for column in given), list(given.values())


def _now() -> float:
    """Return the time by which images expire, in seconds since 1970."""
    return time.time()
