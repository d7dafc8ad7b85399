"""Images found by their address.

Hides that no index stands between an id and its record: the id is decoded, the record is read, and
its key must show the cookie of the id.

Where this gateway has keys, an image must also be announced by an event: a signature cannot hold
the record's offset, and a copy of a signed head, at another offset, has another id. So must one
that was uploaded by a link, which may have been used up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.delivery.unfit import UnfitRecords
from app.errors import (
    ImageGoneError,
    ImageNotFoundError,
    RecordGoneError,
    RecordMissingError,
)
from app.events.trust import Trust
from app.log import IMAGES
from app.records import address
from app.records.image import Head, UnfitRecordError, parse_head

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
    """Finds images in `log` that `trust` accepts, and describes them from `catalog`."""

    def __init__(
        self,
        log: Log,
        cache: RecordCache,
        catalog: Catalog,
        feed: Feed,
        expiry: Expiry,
        trust: Trust | None = None,
    ) -> None:
        self._log = log
        self._cache = cache
        self._catalog = catalog
        self._feed = feed
        self._expiry = expiry
        self._trust = trust or Trust()
        self._unfit = UnfitRecords()

    async def find(self, image_id: str) -> StoredImage:
        """Find an image.

        Raises:
            ImageNotFoundError: There is none with this id.
            ImageGoneError: It was deleted, or a part of it has left the log.
            LogUnavailableError, NotReadyError: The gateway cannot tell now.
        """
        if not (is_stopped := self._feed.is_stopped):
            self._feed.require_caught_up()
        where = address.parse(image_id)
        if await self._catalog.is_deleted(image_id):
            raise ImageGoneError("The image was deleted.")
        is_listed = is_stopped and await self._catalog.image(image_id) is not None
        # Again: the catalog that answered may be an empty one, which has just replaced another.
        self._feed.require_listed(is_listed)
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
        try:
            head = parse_head(record)
            self._trust.check_head(record, head)
            await self._require_whole(head)
            await self._require_announced(image_id, head)
        except UnfitRecordError as error:
            raise self.unfit(where, error) from error
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

    def unfit(self, where: Address, reason: UnfitRecordError) -> ImageNotFoundError:
        """Return the error for an id that leads to records of another program; report it once."""
        self._unfit.report(where.position, str(reason))
        return ImageNotFoundError()

    async def _require_announced(self, image_id: str, head: Head) -> None:
        """Check that the catalog has the event of an image, where the head alone says too little.

        That is where there are keys, and where it has a claim, which may not count.
        """
        is_needed = bool(self._trust.signatures) or head.claim is not None
        if not is_needed or await self._catalog.is_listed(image_id):
            return
        # Another replica may have acknowledged it just now, or deleted it.
        await self._feed.caught_up()
        if await self._catalog.is_deleted(image_id):
            raise ImageGoneError("The image was deleted.")
        if await self._catalog.is_listed(image_id):
            return
        if head.claim is not None:
            raise ImageNotFoundError
        raise UnfitRecordError("no event announces an image there")

    async def _require_whole(self, head: Head) -> None:
        """Check that no chunk left the log before its head did."""
        lowest: dict[int, int] = {}
        for chunk in sorted(head.chunks):
            lowest.setdefault(chunk.partition, chunk.offset)
        count = self._log.partitions(IMAGES)
        known = [partition for partition in lowest if partition < count]
        try:
            bounds = await asyncio.gather(*(self._log.bounds(IMAGES, each) for each in known))
            starts = [each.start for each in bounds]
            # Partitions that were added since the start, in order: the first that is not there
            # ends it, so that no list makes the log look at more than there are, and one.
            starts += [
                (await self._log.bounds(IMAGES, each)).start for each in [*lowest][len(known) :]
            ]
        except RecordMissingError as error:
            raise UnfitRecordError("a chunk in a partition that the topic does not have") from error
        if any(offset < start for offset, start in zip(lowest.values(), starts, strict=True)):
            raise self.gone()
