"""The bytes of an image, whole or a range of them.

Hides where they come from: from the image's records, or, if those are packed, from a codec worker
that unpacks them.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from app.client import NOBODY
from app.errors import RecordGoneError, RecordMissingError
from app.records.image import UnfitRecordError
from app.sealing.envelope import BrokenSealError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from app.delivery.chunks import Chunks
    from app.delivery.find import Finder
    from app.delivery.stored_image import StoredImage
    from app.delivery.unpack import Unpacker

T = TypeVar("T")


class Delivery:
    """Streams images that `finder` has found."""

    def __init__(self, finder: Finder, chunks: Chunks, unpacker: Unpacker) -> None:
        self._finder = finder
        self._chunks = chunks
        self._unpacker = unpacker

    async def open(
        self, image: StoredImage, start: int, end: int, client: str = NOBODY
    ) -> AsyncGenerator[bytes, None]:
        """Read the first bytes, and return the stream of the bytes from `start` up to `end`.

        Args:
            image: The image.
            start: The first byte.
            end: The byte behind the last.
            client: Whose share of memory and workers it takes if the image is packed.

        Raises:
            ImageGoneError: The bytes have left the log; the response has not begun yet.
            ImageNotFoundError: The first record is no part of an image.
            LogUnavailableError: The log does not answer now.
            KeyUnavailableError: It is sealed, and its key cannot be had now.
            RecordDamagedError: It is sealed, and not as it was sealed.
            OverloadedError, ShareExceededError, UnpackError: It is packed, and cannot be unpacked
                now.
        """
        image = await self._finder.unlocked(image)
        if image.info.content_encoding:
            opening = self._unpacker.open(image, start, end, client)
        else:
            opening = self._open_chunks(image, start, end)
        return self._stream(image, await self._translated(image, opening))

    async def read(self, image: StoredImage, start: int, end: int, client: str = NOBODY) -> bytes:
        """Return the bytes from `start` up to `end`, a piece at most; see `open`."""
        image = await self._finder.unlocked(image)
        if not image.info.content_encoding:
            return await self._translated(image, self._chunks.read(image, start, end))
        pieces = await self.open(image, start, end, client)
        return b"".join([piece async for piece in pieces])

    async def _open_chunks(
        self, image: StoredImage, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        # Once the first byte is sent, it is too late to say that one has gone.
        if not self._chunks.are_cached(image, start, end):
            await self._finder.require_retained(image)
        return await self._chunks.open(image, start, end)

    async def _translated(self, image: StoredImage, reading: Awaitable[T]) -> T:
        """Return what is read, or raise what a client is told of records that do not fit."""
        try:
            return await reading
        except (RecordMissingError, RecordGoneError) as error:
            raise self._finder.gone() from error
        except UnfitRecordError as error:
            raise self._finder.unfit(image.address, error) from error
        except BrokenSealError as error:
            raise self._finder.broken(image.address) from error

    async def _stream(
        self, image: StoredImage, pieces: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces):
            try:
                async for piece in pieces:
                    yield piece
            except UnfitRecordError as error:
                raise self._finder.unfit(image.address, error) from error
            except BrokenSealError as error:
                raise self._finder.broken(image.address) from error
