"""Uploads with an idempotency key: which image a key has stored, and what its next upload is told.

Hides that the log decides, by its order: the first event with the key's token has it, for every
gateway. On one gateway the uploads under one key take turns, so that only the first is developed.
Two gateways may each store one; then the second in the log is never shown, and both answer with the
first. Only what is stored is remembered: after a refusal, or a failure, the key is as new.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from app.errors import (
    CatalogDamagedError,
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    ImageGoneError,
    OutcomeUnknownError,
    RecordGoneError,
    RecordMissingError,
)
from app.events.event import ImageStored, PoisonEventError, decode
from app.events.idempotency import Idempotency, fingerprint_of, keyed
from app.ingest.upload import StoredUpload
from app.log import EVENTS, Position
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.catalog.tokens import Holder
    from app.feed.feed import Feed
    from app.ingest.upload import Upload
    from app.log import Log
    from app.records.image_keys import ImageKeys

# As long as an append may take: clients that have waited for longer have given up.
_WAIT_SECONDS = 15.0
# Applying an event takes milliseconds; a feed that takes longer is not ready.
_APPLY_SECONDS = 5.0


class Once:
    """Knows the images of idempotency keys, as `feed` fills `catalog`.

    Args:
        log: The log; it has the events.
        catalog: It knows which image has which token.
        feed: Says when an event is applied.
        keys: Open the events of encrypted images.
        wait_seconds: How long an upload waits for another one under its key.
        apply_seconds: How long one waits for its event to be applied.
    """

    def __init__(
        self,
        log: Log,
        catalog: Catalog,
        feed: Feed,
        keys: ImageKeys,
        *,
        wait_seconds: float = _WAIT_SECONDS,
        apply_seconds: float = _APPLY_SECONDS,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._feed = feed
        self._keys = keys
        self._wait_seconds = wait_seconds
        self._apply_seconds = apply_seconds
        # They exist as long as someone holds or awaits them.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, token: str | None) -> AsyncGenerator[None, None]:
        """Let the uploads with a token run one after another.

        Raises:
            IdempotencyKeyInUseError: The one before takes too long.
        """
        if token is None:
            yield
            return
        turn = self._turns.get(token)
        if turn is None:
            turn = self._turns[token] = asyncio.Lock()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn.acquire()
        except TimeoutError as error:
            raise IdempotencyKeyInUseError(
                "Another upload under this Idempotency-Key is still running: send this one again"
                " later, with the same key."
            ) from error
        try:
            yield
        finally:
            turn.release()

    async def holder(self, token: str | None) -> Holder | None:
        """Return the image that was stored with a token, as far as is known here."""
        return None if token is None else await self._catalog.holder_of(token)

    async def idempotency(self, token: str | None, upload: Upload) -> Idempotency | None:
        """Return what the event of an upload is to say of its token."""
        return None if token is None else Idempotency(token, await _fingerprint(upload))

    async def winner_over(
        self, idempotency: Idempotency | None, image_id: str, event_offset: int
    ) -> Holder | None:
        """Return the image to which another lost, whose event is there; None if it has not lost.

        Raises:
            OutcomeUnknownError: It is not known in time.
        """
        if idempotency is None:
            return None
        unknown = OutcomeUnknownError(
            "The image is written; whether it is the first with its Idempotency-Key is not known"
            " yet."
        )
        if not await self._feed.applied_within(event_offset, self._apply_seconds):
            raise unknown
        try:
            return await self._catalog.winner_over(image_id, idempotency.token)
        except CatalogDamagedError as error:
            raise unknown from error

    async def replay(self, holder: Holder, upload: Upload) -> StoredUpload:
        """Return the image that a key has stored before, if this is the same upload.

        Raises:
            ImageGoneError: The image was deleted, has expired or left the log.
            IdempotencyKeyReusedError: It is another upload.
            KeyUnavailableError: The image is encrypted, and its key cannot be had.
        """
        image = await self._catalog.image(holder.image_id)
        if image is None:
            raise _gone()
        stated = await self._stated(image, await _fingerprint(upload))
        if not hmac.compare_digest(stated, holder.fingerprint):
            raise IdempotencyKeyReusedError(
                "Another file, file name or option was stored under this Idempotency-Key: send each"
                " upload with a key of its own."
            )
        metrics.UPLOADS_REPLAYED.inc()
        return StoredUpload(image.id, image.info, image, is_replayed=True)

    async def _stated(self, image: CatalogImage, fingerprint: str) -> str:
        """Return a fingerprint as the event of an image would state it."""
        if (seal := await self._catalog.seal_of(image.id)) is None:
            return fingerprint
        try:
            found = await self._log.read(EVENTS, Position(0, image.sequence))
            event = decode(found.record)
        except (RecordGoneError, RecordMissingError, PoisonEventError) as error:
            # It was deleted just now, and erased.
            raise _gone() from error
        if not isinstance(event, ImageStored) or event.sealing is None:
            raise _gone()
        # It may have been wrapped again since.
        return keyed(fingerprint, await self._keys.unwrap(seal.key or event.sealing.key))


async def _fingerprint(upload: Upload) -> str:
    return await asyncio.to_thread(fingerprint_of, upload.data, upload.filename, upload.options)


def _gone() -> ImageGoneError:
    return ImageGoneError(
        "The image that was stored under this Idempotency-Key is gone; another key stores the"
        " upload again."
    )
