"""The erasure of images by their keys: a tombstone removes the record of a key.

Hides what becomes of one that cannot be written now. The image is deleted all the same, as an event
says so; its key is loose in the catalog of every gateway, and the next sweep erases it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import KEYS
from app.records.key_record import tombstone
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.catalog.catalog import Catalog
    from app.log import Log
    from app.records.address import Address

logger = structlog.get_logger(__name__)

# A client waits for it, though it would get the same answer without.
_ERASE_SECONDS = 5.0


async def keys_of(catalog: Catalog, image_ids: Sequence[str]) -> list[Address]:
    """Return where the keys of listed images are, of those that are in records of their own."""
    seals = [await catalog.seal_of(each) for each in image_ids]
    return [seal.key for seal in seals if seal is not None and seal.key is not None]


async def erase(log: Log, keys: Sequence[Address]) -> bool:
    """Append the tombstones of keys; tell whether all are acknowledged.

    Call it once the events are acknowledged that delete their images.
    """
    if not keys:
        return True
    deadline = asyncio.get_running_loop().time() + _ERASE_SECONDS
    try:
        await log.append(KEYS, [tombstone(each) for each in keys], deadline)
    except (NotWrittenError, OutcomeUnknownError) as error:
        logger.warning("keys_not_erased", count=len(keys), reason=error.detail)
        return False
    metrics.KEYS_ERASED.inc(len(keys))
    return True
