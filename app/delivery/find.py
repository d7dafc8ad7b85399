"""Images found by their address.

Hides that no index stands between an id and its record: the id is decoded, the record is read, and
its key must show the cookie of the id.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import (
    ImageGoneError,
    ImageNotFoundError,
    RecordGoneError,
    RecordMissingError,
)
from app.log import IMAGES
from app.records import address
from app.records.image import Head, parse_head

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.delivery.cache import RecordCache
    from app.feed.expiry import Expiry
    from app.feed.feed import Feed
    from app.imaging.info import ImageInfo
    from app.log import Log, StoredRecord
    from app.records.address import Address


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that was found: its properties, and where its bytes are."""

    address: Address
    first: StoredRecord
    head: Head

    @property
    def chunk_bytes(self) -> int:
        """The size of a chunk: the stored bytes in each record but the last."""
        return self.head.chunk_bytes or max(self.info.stored_bytes, 1)

    @property
    def info(self) -> ImageInfo:
        """The properties of the image."""
        return self.head.info


class Finder:
    """Finds images in `log`, and describes them from `catalog`."""

    def __init__(
        self, log: Log, cache: RecordCache, catalog: Catalog, feed: Feed, expiry: Expiry
    ) -> None:
        self._log = log
        self._cache = cache
        self._catalog = catalog
        self._feed = feed
        self._expiry = expiry

    async def find(self, image_id: str) -> StoredImage:
        """Find an image.

        Raises:
            ImageNotFoundError: There is none with this id.
            ImageGoneError: It was deleted, or a part of it has left the log.
            LogUnavailableError, NotReadyError: The gateway cannot tell now.
        """
        self._feed.require_caught_up()
        where = address.parse(image_id)
        if await self._catalog.is_deleted(image_id):
            raise ImageGoneError("The image was deleted.")
        # Again: the catalog that answered may be an empty one, which has just replaced another.
        self._feed.require_caught_up()
        try:
            record = await self._cache.read(
                where.position, lambda remembered: where.opens(remembered.key)
            )
        except RecordMissingError as error:
            raise ImageNotFoundError from error
        except RecordGoneError as error:
            raise self.gone() from error
        if not where.opens(record.key):
            raise ImageNotFoundError
        head = parse_head(record)
        await self._require_whole(head)
        return StoredImage(where, record, head)

    async def describe(self, image_id: str) -> CatalogImage:
        """Return the catalog's entry of an image.

        Raises:
            GatewayError: As `find`.
        """
        await self.find(image_id)
        if (image := await self._catalog.image(image_id)) is None:
            # Another replica may have acknowledged it just now.
            await self._feed.caught_up()
            image = await self._catalog.image(image_id)
        if image is None:
            raise ImageNotFoundError
        return image

    def gone(self) -> ImageGoneError:
        """Return the error for an image that has left the log; it may still be listed."""
        self._expiry.ask()
        return ImageGoneError("The image is no longer in the log.")

    async def _require_whole(self, head: Head) -> None:
        """Check that no chunk left the log before its head did."""
        lowest: dict[int, int] = {}
        for partition, offset in sorted((each.partition, each.offset) for each in head.chunks):
            lowest.setdefault(partition, offset)
        try:
            bounds = await asyncio.gather(*(self._log.bounds(IMAGES, each) for each in lowest))
        except RecordMissingError as error:
            raise self.gone() from error
        if any(offset < each.start for offset, each in zip(lowest.values(), bounds, strict=True)):
            raise self.gone()
