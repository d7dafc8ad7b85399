"""The way in, its order visible in one function: `Ingest.take`.

Hides what an answer to an upload may promise. An image is stored when its head record and its
event are acknowledged, and not before. What was certainly not written is a 503, what may have
been written a 504.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, Protocol

from app.errors import CatalogDamagedError, NotWrittenError, OutcomeUnknownError
from app.events.event import ImageStored, encode
from app.imaging.develop import Developed, develop
from app.imaging.formats import sniff
from app.log import EVENTS, IMAGES
from app.records.address import Address, new_cookie
from app.records.image import chunk_bytes, chunk_records, head_record
from app.telemetry import metrics

if TYPE_CHECKING:
    from app.budget import ByteBudget, Reservation
    from app.catalog.catalog import Catalog, CatalogImage
    from app.codec.pool import CodecPool
    from app.feed.feed import Feed
    from app.imaging.formats import ImageFormat
    from app.imaging.info import ImageInfo
    from app.imaging.limits import ImageLimits
    from app.imaging.profiles import Recipe
    from app.log import Log

# What the way in holds of an upload at its worst: the body, the developed image, aiokafka's batch,
# and the request that is made of it.
COPIES = 4
# After the grace period for requests; orchestrators commonly kill 30 s after SIGTERM.
_DRAIN_SECONDS = 3.0
# How long an answer waits for the catalog, so that a listing right after it shows the image.
_LISTING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Upload:
    """What a client sent: the bytes, the file name it gave, cleaned, and what it wants done."""

    data: bytes
    filename: str | None
    recipe: Recipe


class Source(Protocol):
    """A client that is about to send an upload."""

    @property
    def max_bytes(self) -> int:
        """The most that it may send: what it announced, or the limit."""
        ...

    async def receive(self) -> Upload:
        """Receive it."""
        ...

    async def left(self) -> NoReturn:
        """Wait until the client has left, and raise what that is; called once all is received."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """An image that is stored. `listed` is None where the catalog has yet to learn of it."""

    image_id: str
    info: ImageInfo
    listed: CatalogImage | None


class Ingest:
    """Takes images in."""

    def __init__(
        self,
        log: Log,
        catalog: Catalog,
        feed: Feed,
        pool: CodecPool,
        limits: ImageLimits,
        budget: ByteBudget,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._feed = feed
        self._pool = pool
        self._limits = limits
        self._budget = budget
        self._publishing: set[asyncio.Task[_Published]] = set()

    async def take(self, source: Source) -> Receipt:
        """Take one image from a client into the log.

        Raises:
            RequestError: The upload has to change.
            UnavailableError: Nothing was stored; the same upload may succeed later.
            OutcomeUnknownError: It may or may not have been stored.
        """
        self._feed.require_caught_up()
        self._log.require_writable()
        reservation = await self._admit(source)
        try:
            upload = await source.receive()
            reservation.shrink(len(upload.data) * COPIES)
            image_format = sniff(upload.data)
            developed = await self._develop(source, upload, image_format)
            info = replace(developed.info, filename=upload.filename)
        except BaseException:
            reservation.release()
            raise
        # From here on the reservation follows the bytes into the log's producers: a client that
        # leaves does not free the memory that they hold.
        published = await asyncio.shield(self._publish(developed.data, info, reservation))
        return Receipt(published.image_id, info, await self._listed(published))

    async def drain(self) -> None:
        """Wait a moment for what is still being published, though its clients have left."""
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=_DRAIN_SECONDS)

    async def _admit(self, source: Source) -> Reservation:
        return await self._budget.reserve(source.max_bytes * COPIES)

    async def _develop(
        self, source: Source, upload: Upload, image_format: ImageFormat
    ) -> Developed:
        """Develop in a worker, unless the client leaves: then nobody wants the result."""
        left = asyncio.create_task(source.left())
        work = asyncio.create_task(
            self._pool.run(develop, upload.data, image_format, self._limits, upload.recipe)
        )
        try:
            await asyncio.wait({left, work}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else left.result()
        finally:
            for task in (left, work):
                task.cancel()
            await asyncio.gather(left, work, return_exceptions=True)

    def _publish(
        self, data: bytes, info: ImageInfo, reservation: Reservation
    ) -> asyncio.Task[_Published]:
        async def publish() -> _Published:
            try:
                # One for all: a client waits for the whole, not for each of its parts.
                deadline = self._log.deadline()
                published = await self._append(data, info, deadline)
            except (NotWrittenError, OutcomeUnknownError) as error:
                if error.settled is not None:
                    error.settled.add_done_callback(reservation.release)
                else:
                    reservation.release()
                raise
            except BaseException:
                reservation.release()
                raise
            reservation.release()
            metrics.IMAGES_STORED.inc()
            return published

        task = asyncio.create_task(publish())
        self._publishing.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[_Published]) -> None:
        self._publishing.discard(task)
        # Where the client has left, nobody else takes note of the outcome.
        if not task.cancelled():
            task.exception()

    async def _append(self, data: bytes, info: ImageInfo, deadline: float) -> _Published:
        """Append chunks 1…n-1, then the head, which commits them, then the event, which tells."""
        cookie, view = new_cookie(), memoryview(data)
        size = chunk_bytes(self._log.max_record_bytes(IMAGES))
        chunks = chunk_records(cookie, view, size)
        try:
            positions = await self._log.append(IMAGES, chunks, deadline) if chunks else []
        except OutcomeUnknownError as error:
            # Chunks without a head are never part of an image: the outcome is known after all.
            lost = NotWrittenError("The log did not acknowledge a part of the image.")
            lost.settled = error.settled
            raise lost from error
        head = head_record(cookie, view, info, size, positions)
        [position] = await self._log.append(IMAGES, [head], deadline)
        image_id = str(Address(position, cookie))
        event = encode(ImageStored(image_id, info, size, tuple(positions)))
        [position] = await self._log.append(EVENTS, [event], deadline)
        return _Published(image_id, position.offset)

    async def _listed(self, published: _Published) -> CatalogImage | None:
        if not await self._feed.applied_within(published.event_offset, _LISTING_SECONDS):
            return None
        # The image is stored, whatever becomes of the catalog: it must not turn into a 503 now.
        with suppress(CatalogDamagedError):
            return await self._catalog.image(published.image_id)
        return None


@dataclass(frozen=True, slots=True)
class _Published:
    image_id: str
    event_offset: int
