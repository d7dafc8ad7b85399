"""The events that delete images which the catalog lists.

Hides that its claim is in its head, and its token in its event: where the log erases what is
deleted, the deletion has to repeat them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.changes.shred import erase, keys_of
from app.errors import GatewayError
from app.events.event import ImageDeleted, encode
from app.log import EVENTS, IMAGES
from app.records import address
from app.records.image import UnfitRecordError, parse_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.log import Log, Position, ReadableLog
    from app.records.claim import Claim
    from app.records.signature import Signatures


async def append_deletions(
    log: Log, catalog: Catalog, signatures: Signatures, images: Sequence[CatalogImage]
) -> list[Position]:
    """Append the deletion of each image, and erase its key; return where its event is.

    Raises:
        NotWrittenError, OutcomeUnknownError: Not all were deleted.
    """
    keys = await keys_of(catalog, [each.id for each in images])
    deletions = [await deletion_of(log, catalog, each) for each in images]
    places = await append(log, signatures, deletions)
    await erase(log, keys)
    return places


async def append(
    log: Log, signatures: Signatures, deletions: Sequence[ImageDeleted]
) -> list[Position]:
    """Append deletions; return where their events are.

    Raises:
        NotWrittenError, OutcomeUnknownError: Not all were deleted.
    """
    events = [signatures.sign(EVENTS, encode(each)) for each in deletions]
    return await log.append(EVENTS, events)


async def deletion_of(log: ReadableLog, catalog: Catalog, image: CatalogImage) -> ImageDeleted:
    """Return the event that deletes an image, whether or not its head can still be read."""
    info, claim = image.info, await _claim(log, image.id)
    token = await catalog.token_of(image.id)
    return ImageDeleted(
        image.id, info.owner, info.visibility, claim, image.former_ids, info.source, token
    )


async def _claim(log: ReadableLog, image_id: str) -> Claim | None:
    where = address.parse(image_id)
    try:
        record = (await log.read(IMAGES, where.position)).record
        return parse_head(record).claim if where.opens(record.key) else None
    except (GatewayError, UnfitRecordError):
        # Gone, damaged or of a newer version: the deletion must not wait for it.
        return None
