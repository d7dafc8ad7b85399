"""The sealed fields of events, opened where the keys are there.

Hides what becomes of an event whose fields cannot be opened. Without the key it is applied without
them, and its image is locked: listed, and not served, until the key comes (`app.feed.unlocking`).
With the key it is one that no gateway wrote.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from app.errors import KeyUnavailableError
from app.events.event import ImageStored
from app.sealing.envelope import BrokenSealError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.events.sequenced import SequencedEvent, Sorted
    from app.log import StoredRecord
    from app.records.seal import Sealing
    from app.sealing.data_keys import DataKeys

BROKEN = "the seal is broken, or of another event"


async def open_all(found: Sorted, records: Sequence[StoredRecord], keys: DataKeys) -> None:
    """Open the events that were found in `records`; those that no gateway sealed are rejected."""
    sealed = [each for each in found.events if is_sealed(each)]
    if not sealed:
        return
    sequences = (each.sequence for each in sealed)
    now = dict(zip(sequences, await opened(sealed, keys), strict=True))
    found.rejected |= {
        record: BROKEN for record in records if now.get(record.position.offset, record) is None
    }
    events = (now.get(each.sequence, each) for each in found.events)
    found.events = [each for each in events if each is not None]


def is_sealed(each: SequencedEvent) -> bool:
    """Tell whether an event has fields that are sealed."""
    return _sealing(each) is not None


async def opened(sealed: Sequence[SequencedEvent], keys: DataKeys) -> list[SequencedEvent | None]:
    """Return sealed events with their fields, in their order.

    One whose key cannot be had is locked; in the place of one that no gateway sealed is None.
    """
    sealings = [sealing for each in sealed if (sealing := _sealing(each)) is not None]
    found = await keys.unwrap_all([each.wrapped for each in sealings])
    return await asyncio.to_thread(lambda: list(map(_opened, sealed, sealings, found)))


def _sealing(each: SequencedEvent) -> Sealing | None:
    return each.event.sealing if isinstance(each.event, ImageStored) else None


def _opened(
    each: SequencedEvent, sealing: Sealing, key: bytes | KeyUnavailableError
) -> SequencedEvent | None:
    if isinstance(key, KeyUnavailableError):
        return replace(each, is_locked=True)
    if not isinstance(each.event, ImageStored):
        return each
    try:
        filename = sealing.open_fields(key).filename
    except (BrokenSealError, ValueError):
        return None
    info = replace(each.event.info, filename=filename)
    return replace(each, event=replace(each.event, info=info))
