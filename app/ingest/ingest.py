"""The steps of an upload, in order in one function, `Ingest.store`.

    require_ready → require_left → admit → receive → sniff → repeated? → develop → publish → list

An upload whose idempotency key has stored an image before is received and compared with that one;
it takes no use of a link and no room of a quota. An image of a batch has a place in its convoy, and
is published in its turn.

Hides how long an upload holds memory: from before its first byte until its image is in the log.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from app.errors import CatalogDamagedError, LinkUsedError
from app.imaging.formats import sniff
from app.ingest.intake import COPIES, memory_for
from app.ingest.upload import StoredUpload

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.budget import ByteBudget, Reservation
    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.catalog.tokens import Holder
    from app.feed.feed import Feed
    from app.imaging.develop import Developed
    from app.imaging.formats import ImageFormat
    from app.ingest.claims import Claims
    from app.ingest.convoy import Place
    from app.ingest.development import Development
    from app.ingest.once import Once
    from app.ingest.publish import Published, Publisher
    from app.ingest.quota import Quota
    from app.ingest.repeats import Repeats
    from app.ingest.upload import Source, Upload

# How long an answer waits for the catalog, so that a listing right after it shows the image.
_LISTING_SECONDS = 1.0


class Ingest:
    """Stores uploads."""

    def __init__(
        self,
        publisher: Publisher,
        catalog: Catalog,
        feed: Feed,
        development: Development,
        budget: ByteBudget,
        claims: Claims,
        once: Once,
        quota: Quota,
        repeats: Repeats,
        *,
        listing_seconds: float = _LISTING_SECONDS,
    ) -> None:
        self._publisher = publisher
        self._catalog = catalog
        self._feed = feed
        self._development = development
        self._budget = budget
        self._claims = claims
        self._once = once
        self._quota = quota
        self._repeats = repeats
        self._listing_seconds = listing_seconds

    async def store(self, source: Source, place: Place | None = None) -> StoredUpload:
        """Store one image from a client; that of a batch has a place in it.

        Raises:
            RequestError: The upload has to change.
            UnavailableError: Nothing was stored; the same upload may succeed later.
            OutcomeUnknownError: It may or may not have been stored.
        """
        await self._require_ready()
        async with self._once.turn(source.token):
            if (holder := await self._once.holder(source.token)) is None:
                await self._claims.require_left(source.claim)
                async with self._quota.room(source.owner, source.max_bytes) as keep:
                    return await self._store(source, place, keep)
        # Those that wait for their turn need not wait for this body.
        return await self._replay(source, holder)

    async def _replay(self, source: Source, holder: Holder) -> StoredUpload:
        reservation = await self._admit(source)
        try:
            return await self._once.replay(holder, await self._receive(source, reservation))
        finally:
            reservation.release()

    async def _store(
        self, source: Source, place: Place | None, keep: Callable[[int], None]
    ) -> StoredUpload:
        reservation = await self._admit(source)
        try:
            upload = await self._receive(source, reservation)
            keep(len(upload.data))
            if holder := await self._once.holder(source.token):
                # By another gateway, while the body came.
                replayed = await self._once.replay(holder, upload)
                reservation.release()
                return replayed
            image_format = sniff(upload.data, source.formats)
            if upload.dedupe and (found := await self._repeats.find(upload, source, image_format)):
                reservation.release()
                return StoredUpload(found.id, found.info, found, is_new=False)
            developed = await self._develop(source, upload, image_format)
            info = replace(
                developed.info,
                filename=upload.filename,
                owner=source.owner,
                visibility=upload.visibility,
                expires_at=_expires_at(upload),
                source=upload.source,
                metadata=upload.recipe.metadata.value,
                expires_in=upload.expires_in,
            )
            idempotency = await self._once.idempotency(source.token, upload)
            if place is not None:
                await place.turn()
        except BaseException:
            reservation.release()
            raise
        # From here on the reservation follows the bytes into the log's producers: a client that
        # leaves does not free the memory that they hold.
        append = None if place is None else place.append
        try:
            published = await self._publisher.publish(
                developed.data, info, reservation, source.claim, idempotency, append
            )
        except LinkUsedError:
            # By the first upload under the same key, perhaps, on another gateway.
            if holder := await self._once.holder(source.token):
                return await self._once.replay(holder, upload)
            raise
        if published.winner is not None:
            return await self._once.replay(published.winner, upload)
        return StoredUpload(published.image_id, info, await self._listed(published))

    async def _require_ready(self) -> None:
        self._feed.require_caught_up()
        await self._publisher.require_writable()

    async def _admit(self, source: Source) -> Reservation:
        return await self._budget.reserve(
            source.client, memory_for(0, source.max_bytes), COPIES * source.max_bytes
        )

    async def _receive(self, source: Source, reservation: Reservation) -> Upload:
        upload = await source.receive(reservation)
        reservation.shrink(len(upload.data) * COPIES)
        return upload

    async def _develop(
        self, source: Source, upload: Upload, image_format: ImageFormat
    ) -> Developed:
        """Develop in a worker, unless the client leaves: then nobody wants the result."""
        left = asyncio.create_task(source.left())
        work = asyncio.create_task(self._development.develop(upload, image_format, source.client))
        try:
            await asyncio.wait({left, work}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else left.result()
        finally:
            for task in (left, work):
                task.cancel()
            await asyncio.gather(left, work, return_exceptions=True)

    async def _listed(self, published: Published) -> CatalogImage | None:
        """Return the image as it is listed, if that is soon."""
        if not await self._feed.applied_within(published.event_offset, self._listing_seconds):
            return None
        if (listed := self._feed.listed(published.image_id)) is not None:
            return listed
        # The image is stored, whatever the state of the catalog: it must not turn into a 503 now.
        with suppress(CatalogDamagedError):
            return await self._catalog.image(published.image_id)
        return None


def _expires_at(upload: Upload) -> int | None:
    """Return when an upload is to be gone that is stored now, in seconds since 1970."""
    return None if upload.expires_in is None else math.ceil(time.time()) + upload.expires_in
