"""The erasure of deleted images, in a log that can erase.

Hides where the parts of an image are: its head and chunks in `images`, and its file name in the
event that announced it. See `ErasableLog`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from app.errors import NewerVersionError, RecordGoneError, RecordMissingError
from app.events.event import ImageDeleted, ImageStored
from app.events.idempotency import LIFETIME_MS
from app.log import EVENTS, IMAGES, Position
from app.records import address
from app.records.image import UnfitRecordError, is_chunk, parse_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.catalog.catalog import Catalog
    from app.events.sequenced import SequencedEvent
    from app.log import ErasableLog, StoredRecord
    from app.records.address import Address

logger = structlog.get_logger(__name__)


async def erase_deleted(
    log: ErasableLog, catalog: Catalog, events: Sequence[SequencedEvent]
) -> None:
    """Erase the images that `events` delete; call it before the catalog applies them.

    A repetition finds nothing to do, so a crash in between does no harm.
    """
    stored_here = {
        image_id: (each.event.image_id, each.sequence)
        for each in events
        if isinstance(each.event, ImageStored)
        for image_id in each.event.ids
    }
    for each in events:
        if isinstance(each.event, ImageDeleted):
            # First: without the event of the image, those that lost to it would take its place in
            # a catalog that is built later.
            for lost_id, lost_at in await _losers(catalog, events, each.event, each.sequence):
                await _erase_image(log, lost_id)
                await log.erase(EVENTS, [Position(0, lost_at)])
            for image_id in (each.event.image_id, *each.event.former_ids):
                listed = await catalog.entry(image_id)
                known = (listed.id, listed.sequence) if listed else stored_here.get(image_id)
                id_now, announced_at = known or (image_id, await catalog.lost_at(image_id))
                await _erase_image(log, id_now)
                # The event that announced the image holds its file name.
                if announced_at is not None:
                    await log.erase(EVENTS, [Position(0, announced_at)])


async def _losers(
    catalog: Catalog, events: Sequence[SequencedEvent], deletion: ImageDeleted, deleted_at: int
) -> list[tuple[str, int]]:
    """Return the images, and where their events are, that may have lost a token to a deleted one.

    They are those that the catalog knows, and those that it is about to learn of with the deletion.
    """
    former = deletion.former_token
    if former is None:
        return []
    return await catalog.all_lost() + [
        (each.event.image_id, each.sequence)
        for each in events
        if isinstance(each.event, ImageStored)
        and each.event.idempotency is not None
        and each.event.idempotency.token == former.token
        and each.event.image_id != deletion.image_id
        and each.sequence < deleted_at
        and each.timestamp_ms < former.stored_at_ms + LIFETIME_MS
    ]


async def _erase_image(log: ErasableLog, image_id: str) -> None:
    where = address.parse(image_id)
    try:
        head = (await log.read(IMAGES, where.position)).record
    except (RecordGoneError, RecordMissingError):
        return
    if where.opens(head.key):
        # Chunks first: once the head is gone, nothing says where they are.
        await log.erase(IMAGES, await _chunks(log, where, head))
        await log.erase(IMAGES, [where.position])


async def _chunks(log: ErasableLog, where: Address, head: StoredRecord) -> list[Position]:
    """Return where the chunks are that say themselves that they are this image's."""
    try:
        listed = parse_head(head).chunks
    except (UnfitRecordError, NewerVersionError) as error:
        # The deletion itself is understood, and must not wait for an upgrade.
        logger.warning("chunks_not_erased", head=str(head.position), reason=str(error))
        return []
    chunks = []
    for number, position in enumerate(listed, start=1):
        with suppress(RecordGoneError, RecordMissingError):
            if is_chunk((await log.read(IMAGES, position)).record, where, number):
                chunks.append(position)
    return chunks
