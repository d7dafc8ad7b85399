"""Packed images, unpacked in a codec worker.

Hides the memory that this takes: a packed image is read whole and unpacked whole, within a budget,
and a client that stalls keeps its part of the budget for a bounded time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from app.client import NOBODY
from app.codec.tasks import Unpack
from app.delivery.chunks import PIECE_BYTES
from app.errors import DecoderCrashedError, DecodeTimeoutError, UnpackError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.budget import ByteBudget, Reservation
    from app.codec.pool import CodecPool
    from app.delivery.chunks import Chunks
    from app.delivery.find import StoredImage

# The copies of an image in memory at its worst: the records' values, the request to a worker, and
# the worker's answer.
_COPIES = 3
# How long a client may stall.
_LEASE_SECONDS = 30.0
# The slowest rate at which a client may fetch an unpacked image, in bytes a second.
_MIN_RATE = 50_000


class Unpacker:
    """Unpacks images that `chunks` reads, in `pool`, within `budget`."""

    def __init__(
        self,
        chunks: Chunks,
        pool: CodecPool,
        budget: ByteBudget,
        *,
        lease_seconds: float = _LEASE_SECONDS,
        min_rate: int = _MIN_RATE,
    ) -> None:
        self._chunks = chunks
        self._pool = pool
        self._budget = budget
        self._lease_seconds = lease_seconds
        self._min_rate = min_rate

    async def open(self, image: StoredImage, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Unpack an image, and return the stream of its bytes from `start` to `end`.

        Raises:
            RecordMissingError, RecordGoneError: A part of it has left the log.
            LogUnavailableError: The log does not answer now.
            OverloadedError, UnpackError: It cannot be unpacked now.
        """
        pieces = self._stream(image, start, end)
        return _resumed(await anext(pieces), pieces)

    async def _stream(
        self, image: StoredImage, start: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        reservation = await self._budget.reserve(NOBODY, _COPIES * image.info.content_length)
        try:
            data = await self._unpack(image)
            seconds = self._lease_seconds + len(data) / self._min_rate
            with _Lease(data, reservation, seconds) as lease:
                del data
                for at in range(start, end, PIECE_BYTES):
                    yield lease.data[at : min(at + PIECE_BYTES, end)]
        finally:
            reservation.release()

    async def _unpack(self, image: StoredImage) -> bytes:
        info = image.info
        pieces = await self._chunks.open(image, 0, info.stored_bytes)
        packed = b"".join([piece async for piece in pieces])
        try:
            return await self._pool.run(Unpack(info.content_length, info.digest), packed)
        except (DecodeTimeoutError, DecoderCrashedError) as error:
            raise UnpackError("The image cannot be unpacked now.") from error


class _Lease:
    """An unpacked image and its part of the budget, held for a bounded time."""

    def __init__(self, data: bytes, reservation: Reservation, seconds: float) -> None:
        self._data: bytes | None = data
        self._reservation = reservation
        reservation.shrink(len(data))
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
            UnpackError: The time is over: a client that stalls does not hold memory for ever.
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
