"""A reader's view of a log: which images there are, and their bytes.

Hides that it is made of the parts of a gateway. The same feed fills the same catalog from the first
event on, so that a reader and a gateway judge alike what is a copy, a stranger's record, or
deleted; and the same finder and delivery read the bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack, nullcontext
from typing import TYPE_CHECKING, TypeVar

import structlog

from app.access.principal import ANYONE
from app.access.read_rule import ReadRule
from app.access.settings import AccessSettings
from app.budget import ByteBudget
from app.catalog.catalog import Catalog
from app.codec.pool import CodecPool
from app.codec.process import Start
from app.codec.settings import CodecSettings
from app.data_folder import FolderLock
from app.delivery.cache import RecordCache
from app.delivery.chunks import Chunks
from app.delivery.delivery import Delivery
from app.delivery.find import Finder
from app.delivery.stored_image import StoredImage
from app.delivery.unpack import Unpacker
from app.errors import (
    ConfigurationError,
    DigestMismatchError,
    ImageNotFoundError,
    LogUnavailableError,
    NewerVersionError,
    NotReadyError,
)
from app.events.trust import Trust
from app.feed.expiry import Expiry
from app.feed.feed import Feed
from app.feed.follow import Follower
from app.feed.unlocking import Unlocking
from app.log import EVENTS, IMAGES
from app.records.image import UnfitRecordError, parse_head
from app.records.image_keys import ImageKeys
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.section import variable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from app.log import ReadableLog
    from app.records.address import Address
    from app.records.signature import Signatures

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# Between attempts while the log does not answer.
_RETRY_SECONDS = 1.0
# Images that were stored together come in one answer of a broker: 32 of the largest.
_CACHE_BYTES = 33_554_432
# An image in packed and in unpacked form, as large as the largest upload may be made.
_UNPACK_BYTES = 600_000_000
_PATIENCE_SECONDS = 60.0


class View:
    """The images in `log`, as a catalog in `folder` knows them.

    Args:
        log: A started log.
        folder: A folder of its own. What is known of the log stays there for the next time.
        signatures: The keys by which records are judged.
        keys: Those that open what is sealed.
        of_gateway: The folder is that of a gateway, which is locked with the embedded log.

    Attributes:
        catalog: What is known.
        feed: How far that is.
    """

    def __init__(
        self,
        log: ReadableLog,
        folder: Path,
        signatures: Signatures,
        keys: DataKeys = NO_KEYS,
        *,
        of_gateway: bool = False,
    ) -> None:
        self._lock = nullcontext() if of_gateway else FolderLock(folder)
        self._log = log
        self._trust = trust = Trust(signatures)
        self._path = folder / "catalog.db"
        self._is_kept = True
        self.catalog = Catalog(self._path, signatures.fingerprint, keeps_deleted=of_gateway)
        self.feed = Feed(log)
        self._expiry = Expiry(log, self.catalog)
        found = ImageKeys(log, keys)
        self._follower = Follower(log, self.catalog, self.feed, self._expiry, trust, found)
        self._unlocking = Unlocking(log, self.catalog, trust, found)
        cache = RecordCache(log, IMAGES, _CACHE_BYTES)
        rule = ReadRule(AccessSettings(), None)
        self._finder = Finder(log, cache, self.catalog, self.feed, self._expiry, rule, trust, found)
        self._chunks = chunks = Chunks(cache)
        codec = CodecSettings()
        self._pool = CodecPool(
            workers=1,
            deadline_seconds=codec.deadline_seconds,
            start=Start(memory_bytes=codec.memory_bytes),
            queue_seconds=_PATIENCE_SECONDS,
        )
        self._has_workers = False
        budget = ByteBudget(_UNPACK_BYTES, _PATIENCE_SECONDS)
        self._delivery = Delivery(self._finder, chunks, Unpacker(chunks, self._pool, budget))
        self._parts = AsyncExitStack()

    async def open(self) -> None:
        """Begin to follow the log.

        Raises:
            ConfigurationError: The folder cannot be used.
        """
        async with AsyncExitStack() as parts:
            parts.enter_context(self._lock)
            parts.push_async_callback(self.catalog.close)
            await self._follower.start()
            parts.push_async_callback(self._follower.stop)
            self._expiry.start()
            parts.push_async_callback(self._expiry.stop)
            self._unlocking.start()
            parts.push_async_callback(self._unlocking.stop)
            parts.push_async_callback(self._pool.stop)
            self._parts = parts.pop_all()

    async def close(self) -> None:
        """Stop everything."""
        await self._parts.aclose()
        if not self._is_kept:
            self._path.unlink(missing_ok=True)

    async def find(self, image_id: str) -> StoredImage:
        """Find an image.

        Raises:
            GatewayError: As `Finder.find`.
        """
        return await self._finder.find_own(image_id, ANYONE)

    async def filled(self) -> None:
        """Wait until everything is known that the log has now, however long that takes.

        Raises:
            NewerVersionError: Only a newer version understands one of the events.
        """
        end = (await self._patiently(lambda: self._log.bounds(EVENTS, 0))).end
        while not self.feed.is_stopped:
            if await self.feed.applied_within(end - 1, _RETRY_SECONDS):
                # What has left the log by itself is known, too.
                return await self._patiently(self._expiry.compare)
        raise NewerVersionError(f"{self.feed.trouble}.")

    def require_keys(self, where: str = "") -> None:
        """Check that there are keys if the log is signed; call it once the view is filled.

        Args:
            where: A place to set them in, unless that is the environment.

        Raises:
            ConfigurationError: What is written would be a stranger's, and strangers' records count.
        """
        if self._trust.lacks_keys:
            # The next view, too, has to come across the event that says so.
            self._is_kept = False
            raise ConfigurationError(
                "The gateways of this log sign their records, and pass over what is not signed:"
                f" set {variable('kafka', 'signing_keys')}{where} as they do."
            )

    def require_unbroken(self, epoch: int) -> None:
        """Check that what is known was not rebuilt since an epoch of the feed.

        Pages of it that were read meanwhile may have ended anywhere.

        Raises:
            NotReadyError: It was, or is being rebuilt.
        """
        if self.feed.epoch != epoch or not self.feed.has_caught_up_once:
            raise NotReadyError("The log had to be read again meanwhile. Run the command again.")

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` returns, once the log answers."""
        while True:
            try:
                return await read()
            except LogUnavailableError as error:
                logger.warning("reader_waits", reason=error.reason)
                await asyncio.sleep(_RETRY_SECONDS)

    async def look_at(self, where: Address) -> StoredImage:
        """Return the image at an address, whether or not an event announces it.

        Raises:
            ImageNotFoundError: There is none.
            GatewayError: It cannot be read.
        """
        record = (await self._log.read(IMAGES, where.position)).record
        try:
            head = parse_head(record)
            self._trust.check_head(record, head)
        except UnfitRecordError as error:
            raise self._finder.unfit(where, error) from error
        if not where.opens(record.key):
            raise ImageNotFoundError
        return await self.unlocked(StoredImage(where, record, head, is_public=False))

    async def unlocked(self, image: StoredImage) -> StoredImage:
        """Return an image with what is sealed of it; see `Finder.unlocked`."""
        return await self._finder.unlocked(image)

    async def stored_bytes_of(self, image: StoredImage) -> bytes:
        """Return the bytes of an image as they are stored, maybe packed.

        Raises:
            DigestMismatchError: What they are when they are served is not the image.
            GatewayError: As `Delivery.open`.
        """
        digest = hashlib.sha256()
        if not image.info.content_encoding:
            stored = b"".join([piece async for piece in await self.bytes_of(image)])
            await asyncio.to_thread(digest.update, stored)
        else:
            image = await self.unlocked(image)
            async for piece in await self.bytes_of(image):
                digest.update(piece)
            pieces = await self._chunks.open(image, 0, image.info.stored_bytes)
            stored = b"".join([piece async for piece in pieces])
        if digest.hexdigest() != image.info.digest:
            raise DigestMismatchError(f"The bytes of {image.image_id} are not those of its digest.")
        return stored

    async def bytes_of(self, image: StoredImage) -> AsyncGenerator[bytes, None]:
        """Read the first bytes of an image as served, and return the stream of all.

        Raises:
            GatewayError: As `Delivery.open`.
        """
        if image.info.content_encoding and not self._has_workers:
            # Few logs have packed images, and a worker takes 0.2 s and 60 MB.
            await self._pool.start()
            self._has_workers = True
        return await self._delivery.open(image, 0, image.info.content_length)
