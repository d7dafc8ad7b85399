"""The publishing of an image: its records, then the event that announces it.

Hides what an answer to an upload may promise. An image is stored when its head record and its event
are acknowledged, and not before. An image that was certainly not written is a 503, one that may
have been written a 504. It also hides when the memory of an upload is free again: not when the
client has its answer, but when the log holds none of the bytes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import NotWrittenError, OutcomeUnknownError
from app.events.event import ImageStored, encode
from app.log import EVENTS, IMAGES
from app.records.address import Address, new_cookie
from app.records.image import chunk_bytes, encoded_chunks, head_record, sealed_head
from app.records.signature import NO_SIGNATURES, Signatures
from app.records.value import ValueEncoding
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.sealing.off_loop import off_loop
from app.telemetry import metrics

if TYPE_CHECKING:
    from app.budget import Reservation
    from app.imaging.info import ImageInfo
    from app.ingest.claims import Claims
    from app.log import Log
    from app.records.claim import Claim

# After the grace period for requests; orchestrators commonly kill 30 s after SIGTERM.
_DRAIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Published:
    """An image that is stored, and the offset of the event that announces it."""

    image_id: str
    event_offset: int


class Publisher:
    """Appends images to `log`, each in a task of its own: a client that leaves does not end it.

    `claims` tells whether those with a claim are stored, `encoding` is the form of the records'
    values, and `keys` are those that images are sealed with, if they are.
    """

    def __init__(
        self,
        log: Log,
        claims: Claims,
        signatures: Signatures = NO_SIGNATURES,
        encoding: ValueEncoding = ValueEncoding.RAW,
        keys: DataKeys = NO_KEYS,
        *,
        drain_seconds: float = _DRAIN_SECONDS,
    ) -> None:
        self._log = log
        self._claims = claims
        self._signatures = signatures
        self._encoding = encoding
        self._keys = keys
        self._drain_seconds = drain_seconds
        self._publishing: set[asyncio.Task[Published]] = set()

    def require_writable(self) -> None:
        """Check that an image would be accepted now, before work is put into it.

        Raises:
            NotReadyError: It would be refused at once.
        """
        self._log.require_writable()

    async def publish(
        self, data: bytes, info: ImageInfo, reservation: Reservation, claim: Claim | None = None
    ) -> Published:
        """Append an image; the reservation is released once the log holds none of it.

        With a claim it is stored only if that counts, which the log decides.

        Raises:
            LinkUsedError, LinkExpiredError: The claim does not count.
            UnavailableError: Nothing was stored; the same upload may succeed later.
            OutcomeUnknownError: It may or may not have been stored.
        """
        task = asyncio.create_task(self._publish(data, info, reservation, claim))
        self._publishing.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait, within a bound, for images that are still being published without a client."""
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=self._drain_seconds)

    async def _publish(
        self, data: bytes, info: ImageInfo, reservation: Reservation, claim: Claim | None
    ) -> Published:
        try:
            async with self._claims.turn(claim):
                published = await self._append(data, info, claim)
                await self._claims.require_counted(
                    claim, published.image_id, published.event_offset
                )
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

    def _finished(self, task: asyncio.Task[Published]) -> None:
        self._publishing.discard(task)
        # If the client has left, nobody else looks at the outcome.
        if not task.cancelled():
            task.exception()

    async def _append(self, data: bytes, info: ImageInfo, claim: Claim | None) -> Published:
        """Append chunks 1…n-1, then the head, which commits them, then the event, each sealed."""
        key = await self._keys.new()
        # One deadline for all appends: a client waits for the whole image.
        deadline = self._log.deadline()
        cookie, view = new_cookie(), memoryview(data)
        max_bytes = self._log.max_record_bytes(IMAGES)
        size = chunk_bytes(max_bytes, self._encoding, sealed=key is not None)
        sealed = sealed_head(cookie, info, size, claim, key) if key else None
        part_bytes = min(size, len(view)) if sealed else 0
        chunks = []
        cut = encoded_chunks(cookie, view, size, self._encoding, sealed)
        while (chunk := await off_loop(part_bytes, next, cut, None)) is not None:
            chunks.append(chunk)
            # Base64 takes 1.2 ms a chunk.
            await asyncio.sleep(0)
        try:
            places = await self._log.append(IMAGES, chunks, deadline) if chunks else []
        except OutcomeUnknownError as error:
            # Chunks without a head are never part of an image: the outcome is known after all.
            lost = NotWrittenError("The log did not acknowledge a part of the image.")
            lost.settled = error.settled
            raise lost from error
        head = await off_loop(
            part_bytes, head_record, cookie, view, info, size, places, claim, self._encoding, sealed
        )
        head = self._signatures.sign(IMAGES, head)
        [head_place] = await self._log.append(IMAGES, [head], deadline)
        image_id = str(Address(head_place, cookie))
        event = encode(ImageStored(image_id, info, size, tuple(places), claim), key)
        event = self._signatures.sign(EVENTS, event)
        [event_place] = await self._log.append(EVENTS, [event], deadline)
        return Published(image_id, event_place.offset)
