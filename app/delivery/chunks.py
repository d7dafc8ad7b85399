"""The stored bytes of an image, cut from its records.

Hides how a range maps to records: only the chunks that it touches are read, one by one as the
client accepts them, and each while the one before it is sent. Memory is bounded by two chunks,
whatever the image's size, and a client that leaves stops the reading. A chunk that was sealed is
opened once for all who read it meanwhile: one in clear is shared through the cache, however many
clients stall in it.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from app.records.image import chunk_part, head_part, is_chunk
from app.sealing.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from app.delivery.cache import RecordCache
    from app.delivery.stored_image import StoredImage
    from app.log import StoredRecord
    from app.records.value import Part

# A response is handed to the server in pieces of this size, so that a slow client holds one piece
# in the server's buffer beside the chunk that it is cut from.
PIECE_BYTES = 65_536


class Chunks:
    """Reads the chunks of images through `cache`."""

    def __init__(self, cache: RecordCache) -> None:
        self._cache = cache
        # As long as somebody reads them, by all that they are bound to: a head that says anything
        # else finds none of them.
        self._opened: WeakValueDictionary[bytes, Part] = WeakValueDictionary()

    async def open(self, image: StoredImage, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Read the first chunk, and return the stream of the stored bytes from `start` to `end`.

        Raises:
            RecordMissingError, RecordGoneError: The first chunk has left the log.
            UnfitRecordError: The record of the first chunk is another one.
            BrokenSealError: It is not the one that was sealed.
            LogUnavailableError: The log does not answer now.
        """
        first = await self._open(image, start // image.chunk_bytes)
        return self._stream(image, start, end, first)

    def are_cached(self, image: StoredImage, start: int, end: int) -> bool:
        """Tell whether all records with the bytes from `start` to `end` are in memory."""
        size = image.chunk_bytes
        numbers = range(max(start // size, 1), -(-end // size))
        return all(self._cache.holds(image.head.chunks[each - 1]) for each in numbers)

    async def read(self, image: StoredImage, start: int, end: int) -> bytes:
        """Return the stored bytes from `start` to `end`, which are few; raises as `open`."""
        size = image.chunk_bytes
        pieces = []
        for number in range(start // size, -(-end // size)):
            part = await self._open(image, number)
            at = number * size
            pieces.append(part.read(max(start - at, 0), min(end - at, size)))
        return b"".join(pieces)

    async def _stream(
        self, image: StoredImage, start: int, end: int, part: Part
    ) -> AsyncGenerator[bytes, None]:
        size = image.chunk_bytes
        numbers = range(start // size, -(-end // size))
        with closing(_Ahead(partial(self._read, image))) as ahead:
            for number in numbers:
                if number > numbers[0]:
                    # Nobody holds the one before it while the next is opened.
                    del part
                    part = await self._open(image, number, ahead.read)
                first = max(start - number * size, 0)
                last = min(end - number * size, size)
                for at in range(first, last, PIECE_BYTES):
                    yield part.read(at, min(at + PIECE_BYTES, last))
                    # Only now: a client that takes nothing holds one.
                    if number < numbers[-1] and not self._cache.holds(image.head.chunks[number]):
                        ahead.begin(number + 1)

    async def _open(
        self,
        image: StoredImage,
        number: int,
        read: Callable[[int], Coroutine[Any, Any, Part]] | None = None,
    ) -> Part:
        read = read or partial(self._read, image)
        if image.seal is None:
            return await read(number)
        bound = image.seal.bound(number)
        if (opened := self._opened.get(bound)) is not None:
            return opened
        part = await read(number)
        opened = await off_loop(part.length, image.seal.opened, number, part)
        # Others may have opened it meanwhile.
        return self._opened.setdefault(bound, opened)

    async def _read(self, image: StoredImage, number: int) -> Part:
        if number == 0:
            return head_part(image.first, image.head)

        def belongs(record: StoredRecord) -> bool:
            return is_chunk(record, image.address, number)

        record = await self._cache.read(image.head.chunks[number - 1], belongs)
        return chunk_part(record, image.address, image.head, number)


class _Ahead:
    """The parts of an image, of which the next one may be read before its turn; close it."""

    def __init__(self, read: Callable[[int], Coroutine[Any, Any, Part]]) -> None:
        self._read = read
        self._number = 0
        self._reading: asyncio.Task[Part] | None = None

    def begin(self, number: int) -> None:
        """Begin to read a part, unless that was done."""
        if number != self._number:
            self.close()
            self._number = number
            self._reading = asyncio.create_task(self._read(number))
            # An error is of interest to who takes the part, if anybody does.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def read(self, number: int) -> Part:
        """Return a part, which may have come already."""
        reading, self._reading = self._reading, None
        if reading is not None and number == self._number:
            return await reading
        return await self._read(number)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._reading is not None:
            self._reading.cancel()
