"""The way out: an image by its id, whole or a range of it.

Hides where the bytes come from. An image is read record by record as the client takes it: memory
is bounded by a chunk, whatever the image's size, and a client that leaves stops the reading. One
that is packed is read whole and unpacked in a codec worker, within a budget of memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from app.errors import (
    DecoderCrashedError,
    DecodeTimeoutError,
    ImageGoneError,
    ImageNotFoundError,
    InternalError,
    OutcomeUnknownError,
    RecordDamagedError,
    RecordGoneError,
    RecordMissingError,
    UnpackError,
)
from app.events.event import ImageDeleted, encode
from app.imaging.codecs.lepton import unpack
from app.log import EVENTS, IMAGES
from app.records import address
from app.records.image import Head, is_chunk, parse_head

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.budget import ByteBudget, Reservation
    from app.catalog.catalog import Catalog, CatalogImage
    from app.codec.pool import CodecPool
    from app.delivery.cache import RecordCache
    from app.feed.feed import Feed
    from app.imaging.info import ImageInfo
    from app.log import Log, StoredRecord
    from app.records.address import Address

# A response is handed to the server in pieces of this size, so that a slow client holds one piece
# in the server's buffer beside the chunk that it is cut from.
PIECE_BYTES = 65_536
# What unpacking holds of an image at its worst: the records' values, what is made of them for a
# worker, and its answer.
_COPIES = 3
# A client may stall so long, and take what was unpacked at so many bytes a second.
_LEASE_SECONDS, _MIN_RATE = 30.0, 50_000
# Applying an event takes milliseconds; a feed that takes longer is not ready.
_APPLY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that was found: what it is, and where its bytes are."""

    where: Address
    first: StoredRecord
    head: Head

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of what is stored lie in each of its records."""
        return self.head.chunk_bytes or max(self.info.stored_bytes, 1)

    @property
    def info(self) -> ImageInfo:
        """What is known of the image."""
        return self.head.info


class Delivery:
    """Finds, streams and deletes images."""

    def __init__(
        self,
        log: Log,
        cache: RecordCache,
        catalog: Catalog,
        feed: Feed,
        pool: CodecPool,
        budget: ByteBudget,
    ) -> None:
        self._log = log
        self._pool = pool
        self._budget = budget
        self._cache = cache
        self._catalog = catalog
        self._feed = feed

    async def find(self, image_id: str) -> StoredImage:
        """Find an image by its address, without an index.

        Raises:
            ImageNotFoundError: There is none.
            ImageGoneError: It was deleted, or a part of it has left the log.
            LogUnavailableError, NotReadyError: This cannot be told now.
        """
        self._feed.require_caught_up()
        where = address.parse(image_id)
        if await self._catalog.is_deleted(image_id):
            raise ImageGoneError("The image was deleted.")
        # Again, as the catalog that has answered may be an empty one, made anew in this moment.
        self._feed.require_caught_up()
        try:
            record = await self._cache.read(
                where.position, lambda remembered: where.opens(remembered.key)
            )
        except RecordMissingError as error:
            raise ImageNotFoundError from error
        except RecordGoneError as error:
            raise self._gone() from error
        if not where.opens(record.key):
            raise ImageNotFoundError
        head = parse_head(record)
        await self._require_whole(head)
        return StoredImage(where, record, head)

    async def _require_whole(self, head: Head) -> None:
        """Check that no chunk left the log before its head did."""
        lowest: dict[int, int] = {}
        for partition, offset in sorted((each.partition, each.offset) for each in head.chunks):
            lowest.setdefault(partition, offset)
        try:
            bounds = await asyncio.gather(*(self._log.bounds(IMAGES, each) for each in lowest))
        except RecordMissingError as error:
            raise self._gone() from error
        if any(offset < each.start for offset, each in zip(lowest.values(), bounds, strict=True)):
            raise self._gone()

    def _gone(self) -> ImageGoneError:
        self._feed.doubt_listing()
        return ImageGoneError("The image is no longer in the log.")

    async def open(self, image: StoredImage, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Read the first chunk, and return the stream of the bytes from `start` up to `end`.

        Raises:
            ImageGoneError: The bytes have left the log, which can still be answered.
            LogUnavailableError: This cannot be told now.
            OverloadedError, UnpackError: It is packed, and cannot be unpacked now.
        """
        if image.info.content_encoding:
            pieces = self._unpacked(image, start, end)
            return _resumed(await anext(pieces), pieces)
        try:
            first = await self._chunk(image, start // image.chunk_bytes)
        except (RecordMissingError, RecordGoneError) as error:
            raise self._gone() from error
        return self._stream(image, start, end, first)

    async def _unpacked(
        self, image: StoredImage, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        info = image.info
        reservation = await self._budget.reserve(_COPIES * info.content_length)
        try:
            packed = await self._packed(image)
            data = await self._unpack(packed, info)
            del packed
            with _Lease(data, reservation) as lease:
                del data
                for at in range(start, end, PIECE_BYTES):
                    yield lease.data[at : min(at + PIECE_BYTES, end)]
        finally:
            reservation.release()

    async def _packed(self, image: StoredImage) -> bytes:
        """Read all that is stored of an image; that a part of it is gone can still be answered."""
        try:
            first = await self._chunk(image, 0)
            pieces = self._stream(image, 0, image.info.stored_bytes, first)
            return b"".join([piece async for piece in pieces])
        except (RecordMissingError, RecordGoneError) as error:
            raise self._gone() from error

    async def _unpack(self, packed: bytes, info: ImageInfo) -> bytes:
        try:
            return await self._pool.run(unpack, packed, info.content_length, info.digest)
        except (DecodeTimeoutError, DecoderCrashedError) as error:
            raise UnpackError("The image cannot be unpacked now.") from error

    async def _stream(
        self, image: StoredImage, start: int, end: int, first_chunk: bytes
    ) -> AsyncGenerator[bytes, None]:
        size = image.chunk_bytes
        for number in range(start // size, -(-end // size)):
            read = first_chunk if number == start // size else await self._chunk(image, number)
            value = memoryview(read)
            first = max(start - number * size, 0)
            last = min(end - number * size, size)
            if last > len(value):
                raise InternalError("The image's records hold less than they say.")
            for at in range(first, last, PIECE_BYTES):
                yield bytes(value[at : min(at + PIECE_BYTES, last)])

    async def describe(self, image_id: str) -> CatalogImage:
        """Return what the catalog says of an image that exists."""
        await self.find(image_id)
        if (image := await self._catalog.image(image_id)) is None:
            # Another replica may have acknowledged it a moment ago.
            await self._feed.caught_up()
            image = await self._catalog.image(image_id)
        if image is None:
            raise ImageNotFoundError
        return image

    async def delete(self, image_id: str) -> None:
        """Delete an image for ever; return when this replica no longer shows it."""
        try:
            await self.find(image_id)
        except ImageGoneError:
            # Deleted before, unless its bytes have expired while it is still listed.
            if await self._catalog.image(image_id) is None:
                return
        except RecordDamagedError:
            # What it holds cannot be read, but its id is known to be right.
            if await self._catalog.image(image_id) is None:
                raise
        [position] = await self._log.append(EVENTS, [encode(ImageDeleted(image_id))])
        if not await self._feed.applied_within(position.offset, _APPLY_SECONDS):
            raise OutcomeUnknownError("The deletion is stored; this replica has yet to apply it.")

    async def _chunk(self, image: StoredImage, number: int) -> bytes:
        if number == 0:
            return image.first.value or b""

        def belongs(record: StoredRecord) -> bool:
            return is_chunk(record, image.where, number)

        record = await self._cache.read(image.head.chunks[number - 1], belongs)
        if not belongs(record):
            raise InternalError("The image's records do not belong together.")
        return record.value or b""


class _Lease:
    """What was unpacked, and its part of the budget, for as long as a client may take for it."""

    def __init__(self, data: bytes, reservation: Reservation) -> None:
        self._data: bytes | None = data
        self._reservation = reservation
        reservation.shrink(len(data))
        seconds = _LEASE_SECONDS + len(data) / _MIN_RATE
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._end()

    @property
    def data(self) -> bytes:
        """The unpacked image.

        Raises:
            UnpackError: It is over: a client that stalls does not hold memory for ever.
        """
        if self._data is None:
            raise UnpackError("The client took too long for an image that is packed.")
        return self._data

    def _end(self) -> None:
        self._data = None
        self._reservation.release()


async def _resumed(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece
