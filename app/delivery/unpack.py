"""Packed images, unpacked in a codec worker.

Hides the memory and the time that this takes. A packed image is read whole and unpacked whole,
within a budget: once for all who ask at the same time, and the last few are kept for the next, as
clients ask for ranges. A client that stalls keeps its image for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from app.codec.tasks import Unpack
from app.delivery.chunks import PIECE_BYTES
from app.errors import DecoderCrashedError, DecodeTimeoutError, ShareExceededError, UnpackError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from app.budget import ByteBudget, Reservation
    from app.codec.pool import CodecPool
    from app.delivery.chunks import Chunks
    from app.delivery.stored_image import StoredImage

# The copies of an image in memory at its worst: the records' values, the request to a worker, and
# the worker's answer.
_COPIES = 3
# How long a client may stall.
_LEASE_SECONDS = 30.0
# The slowest rate at which a client may fetch an unpacked image, in bytes a second.
_MIN_RATE = 50_000
# Images that are kept while nobody reads them, if there is memory.
_KEPT = 8


@dataclass(eq=False, slots=True)
class _Unpacked:
    """An image that is being unpacked, or is, with its part of the budget."""

    key: str
    work: asyncio.Task[tuple[bytes, Reservation]]
    readers: int = 0

    @property
    def is_kept(self) -> bool:
        """Whether it is there though nobody reads it."""
        return not self.readers and self.is_done

    @property
    def is_done(self) -> bool:
        """Whether it is unpacked."""
        return self.work.done() and not (self.work.cancelled() or self.work.exception())

    @property
    def is_wanted(self) -> bool:
        """Whether it is of use for the next reader: unpacked, or being so for others."""
        return self.is_done or (bool(self.readers) and not self.work.done())


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
        # By id; the one that was asked for last is at the end.
        self._images: OrderedDict[str, _Unpacked] = OrderedDict()

    async def open(
        self, image: StoredImage, start: int, end: int, client: str
    ) -> AsyncGenerator[bytes, None]:
        """Unpack an image, and return the stream of its bytes from `start` to `end`.

        Args:
            image: The image.
            start: The first byte.
            end: The byte behind the last.
            client: Whose shares of memory and workers it takes, as `app.client` names it.

        Raises:
            RecordMissingError, RecordGoneError: A part of it has left the log.
            LogUnavailableError: The log does not answer now.
            OverloadedError, ShareExceededError, UnpackError: It cannot be unpacked now.
        """
        pieces = self._stream(image, start, end, client)
        return _resumed(await anext(pieces), pieces)

    async def _stream(
        self, image: StoredImage, start: int, end: int, client: str
    ) -> AsyncGenerator[bytes, None]:
        with await self._read(image, client) as lease:
            for at in range(start, end, PIECE_BYTES):
                yield lease.data[at : min(at + PIECE_BYTES, end)]

    async def _read(self, image: StoredImage, client: str) -> _Lease:
        """Return the image for one reader, who may have to wait for it."""
        key, others = str(image.address), True
        while True:
            unpacked = self._images.get(key)
            if unpacked is None:
                others = False
                work = asyncio.create_task(self._unpack(image, client))
                unpacked = self._images[key] = _Unpacked(key, work)
            self._images.move_to_end(key)
            unpacked.readers += 1
            try:
                data, _ = await asyncio.shield(unpacked.work)
            except ShareExceededError:
                self._leave(unpacked)
                if not others:
                    raise
            except BaseException:
                self._leave(unpacked)
                raise
            else:
                seconds = self._lease_seconds + len(data) / self._min_rate
                return _Lease(data, seconds, partial(self._leave, unpacked))

    def _leave(self, unpacked: _Unpacked) -> None:
        """Take notice that a reader has ended, and that the work has failed or is not wanted."""
        unpacked.readers -= 1
        if not (unpacked.readers or unpacked.is_done):
            unpacked.work.cancel()
        if not unpacked.is_wanted and self._images.get(unpacked.key) is unpacked:
            del self._images[unpacked.key]
        if not unpacked.readers:
            self._keep_few()

    def _keep_few(self) -> None:
        kept = [each for each in self._images.values() if each.is_kept]
        most_bytes = self._budget.total_bytes // 2
        while kept and (
            len(kept) > _KEPT
            or self._budget.is_waited_for
            or sum(len(each.work.result()[0]) for each in kept) > most_bytes
        ):
            self._drop(kept.pop(0))

    def _make_room(self, needed_bytes: int) -> None:
        """Drop images that nobody reads, until there is memory for another."""
        for kept in [each for each in self._images.values() if each.is_kept]:
            if self._budget.free_bytes >= needed_bytes:
                return
            self._drop(kept)

    def _drop(self, kept: _Unpacked) -> None:
        del self._images[kept.key]
        kept.work.result()[1].release()

    async def _unpack(self, image: StoredImage, client: str) -> tuple[bytes, Reservation]:
        info = image.info
        needed_bytes = _COPIES * info.content_length
        self._make_room(needed_bytes)
        reservation = await self._budget.reserve(client, needed_bytes)
        try:
            pieces = await self._chunks.open(image, 0, info.stored_bytes)
            packed = b"".join([piece async for piece in pieces])
            data = await self._pool.run(Unpack(info.content_length, info.digest), packed, client)
        except (DecodeTimeoutError, DecoderCrashedError) as error:
            reservation.release()
            raise UnpackError("The image cannot be unpacked now.") from error
        except BaseException:
            reservation.release()
            raise
        reservation.shrink(len(data))
        return data, reservation


class _Lease:
    """An unpacked image, held by one reader for a bounded time."""

    def __init__(self, data: bytes, seconds: float, end: Callable[[], None]) -> None:
        self._data: bytes | None = data
        self._on_end = end
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
        if self._data is not None:
            self._data = None
            self._on_end()


async def _resumed(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece
