"""A reader's view of a log: which images there are, and their bytes.

Hides that it is made of the parts of a gateway. The same feed fills the same catalog from the first
event on, so that a reader and a gateway judge alike what is a copy, a stranger's record, or
deleted; and the same finder and delivery read the bytes.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

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
from app.delivery.unpack import Unpacker
from app.events.trust import Trust
from app.feed.expiry import Expiry
from app.feed.feed import Feed
from app.feed.follow import Follower
from app.feed.unlocking import Unlocking
from app.log import IMAGES
from app.sealing.data_keys import NO_KEYS, DataKeys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from app.delivery.find import StoredImage
    from app.log import ReadableLog
    from app.records.signature import Signatures

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

    Attributes:
        catalog: What is known.
        feed: How far that is.
    """

    def __init__(
        self, log: ReadableLog, folder: Path, signatures: Signatures, keys: DataKeys = NO_KEYS
    ) -> None:
        self._lock = FolderLock(folder)
        trust = Trust(signatures)
        self.catalog = Catalog(folder / "catalog.db", signatures.fingerprint)
        self.feed = Feed(log)
        self._expiry = Expiry(log, self.catalog)
        self._follower = Follower(log, self.catalog, self.feed, self._expiry, trust, keys)
        self._unlocking = Unlocking(log, self.catalog, trust, keys)
        cache = RecordCache(log, IMAGES, _CACHE_BYTES)
        rule = ReadRule(AccessSettings(), None)
        self._finder = Finder(log, cache, self.catalog, self.feed, self._expiry, rule, trust, keys)
        chunks = Chunks(cache)
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

    async def find(self, image_id: str) -> StoredImage:
        """Find an image.

        Raises:
            GatewayError: As `Finder.find`.
        """
        return await self._finder.find_own(image_id, ANYONE)

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
