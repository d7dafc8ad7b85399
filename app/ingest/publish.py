"""The publishing of an image: its records, then the event that announces it.

Hides what an answer to an upload may promise. An image is stored when its head record and its event
are acknowledged, and not before. An image that was certainly not written is a 503, one that may
have been written a 504. It also hides when the memory of an upload is free again: not when the
client has its answer, but when the log holds none of the bytes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.errors import NotWrittenError, OutcomeUnknownError
from app.events.event import ImageStored, encode
from app.log import EVENTS, IMAGES, PairingLog
from app.records.signature import NO_SIGNATURES, Signatures
from app.records.value import ValueEncoding
from app.records.writer import ImageWriter
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.telemetry import metrics

if TYPE_CHECKING:
    from app.budget import Reservation
    from app.catalog.tokens import Holder
    from app.events.idempotency import Idempotency
    from app.imaging.info import ImageInfo
    from app.ingest.claims import Claims
    from app.ingest.once import Once
    from app.log import Append, Log, Position, Record
    from app.records.claim import Claim
    from app.records.writer import Written

# After the grace period for requests; orchestrators commonly kill 30 s after SIGTERM.
_DRAIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Published:
    """An image that is stored, and the offset of the event that announces it.

    If another was first with its idempotency token, that is its `winner`, and this one is not there
    for anybody.
    """

    image_id: str
    event_offset: int
    winner: Holder | None = None


class Publisher:
    """Appends images to `log`, each in a task of its own: a client that leaves does not end it.

    `claims` tells whether those with a claim are stored, `once` which of those with one idempotency
    token is, `encoding` is the form of the records' values, and `keys` are those that images are
    sealed with, if they are: in records of their own where it `shreds`.
    """

    def __init__(
        self,
        log: Log,
        claims: Claims,
        once: Once,
        signatures: Signatures = NO_SIGNATURES,
        encoding: ValueEncoding = ValueEncoding.RAW,
        keys: DataKeys = NO_KEYS,
        *,
        shreds: bool = False,
        drain_seconds: float = _DRAIN_SECONDS,
    ) -> None:
        self._log = log
        # Checked once: `isinstance` takes 0.1 ms for a protocol.
        self._pairing_log = log if isinstance(log, PairingLog) else None
        self._claims = claims
        self._once = once
        self._signatures = signatures
        self._keys = keys
        self._writer = ImageWriter(log, signatures, encoding, keys, shreds=shreds)
        self._drain_seconds = drain_seconds
        self._publishing: set[asyncio.Task[Published]] = set()

    async def require_writable(self) -> None:
        """Check that an image would be accepted now, before work is put into it.

        Raises:
            NotReadyError: It would be refused at once.
            KeyUnavailableError: There would be no key to encrypt it by.
        """
        self._log.require_writable()
        await self._keys.require_new()

    async def publish(
        self,
        data: bytes,
        info: ImageInfo,
        reservation: Reservation,
        claim: Claim | None = None,
        idempotency: Idempotency | None = None,
        append: Append | None = None,
    ) -> Published:
        """Append an image; the reservation is released once the log holds none of it.

        With a claim it is stored only if that counts, with an idempotency token only if no other
        image has it, which the log decides. Its head and event go through `append`, if there is
        one, together with those of other images.

        Raises:
            LinkUsedError, LinkExpiredError: The claim does not count.
            UnavailableError: Nothing was stored; the same upload may succeed later.
            OutcomeUnknownError: It may or may not have been stored.
        """
        publishing = self._publish(data, info, reservation, claim, idempotency, append)
        task = asyncio.create_task(publishing)
        self._publishing.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait, within a bound, for images that are still being published without a client."""
        if self._publishing:
            await asyncio.wait(self._publishing, timeout=self._drain_seconds)

    async def _publish(
        self,
        data: bytes,
        info: ImageInfo,
        reservation: Reservation,
        claim: Claim | None,
        idempotency: Idempotency | None,
        append: Append | None,
    ) -> Published:
        try:
            async with self._claims.turn(claim):
                published = await self._append(data, info, claim, idempotency, append)
                place = (published.image_id, published.event_offset)
                winner = await self._once.winner_over(idempotency, *place)
                if winner is None:
                    await self._claims.require_counted(claim, *place)
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
        if winner is None:
            metrics.IMAGES_STORED.inc()
        return replace(published, winner=winner)

    def _finished(self, task: asyncio.Task[Published]) -> None:
        self._publishing.discard(task)
        # If the client has left, nobody else looks at the outcome.
        if not task.cancelled():
            task.exception()

    async def _append(
        self,
        data: bytes,
        info: ImageInfo,
        claim: Claim | None,
        idempotency: Idempotency | None,
        append: Append | None,
    ) -> Published:
        """Append the image, then the event that announces it."""
        # One deadline for all appends: a client waits for the whole image.
        deadline = self._log.deadline()
        image = await self._writer.prepare(data, info, claim, deadline)

        def event(place: Position) -> Record:
            return self._event(image.at(place), info, claim, idempotency)

        if self._pairing_log is not None and append is None:
            head, announced = await self._pairing_log.append_pair(
                IMAGES, image.head, EVENTS, event, deadline
            )
        else:
            append = append or self._log.append
            [head] = await append(IMAGES, [image.head], deadline)
            [announced] = await append(EVENTS, [event(head)], deadline)
        return Published(str(image.at(head).address), announced.offset)

    def _event(
        self,
        image: Written,
        info: ImageInfo,
        claim: Claim | None,
        idempotency: Idempotency | None,
    ) -> Record:
        """Return the event that announces an image."""
        if idempotency and image.key:
            idempotency = idempotency.keyed(image.key.plain)
        chunks = (image.chunk_bytes, image.chunks)
        stored = ImageStored(
            str(image.address), info, *chunks, claim, key=image.key, idempotency=idempotency
        )
        return self._signatures.sign(EVENTS, encode(stored))
