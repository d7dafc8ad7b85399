"""The sealed fields of events, opened where the keys are there.

Hides what becomes of an event whose fields cannot be opened. Without the key it is applied without
them, and its image is locked: listed, and not served, until the key comes (`app.feed.unlocking`).
With the key it is one that no gateway wrote. If the key was erased, it is locked for ever: the
deletion of its image is among the next events.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from app.events.event import ImageStored
from app.events.rewrapped import ImageRewrapped
from app.sealing.envelope import BrokenSealError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.events.sequenced import SequencedEvent, Sorted
    from app.log import StoredRecord
    from app.records.image_keys import FoundKey, ImageKeys
    from app.records.seal import Sealing
    from app.records.stated_key import StatedKey

BROKEN = "the seal is broken, or of another event"


async def open_all(found: Sorted, records: Sequence[StoredRecord], keys: ImageKeys) -> None:
    """Open the events that were found in `records`; those that no gateway sealed are rejected."""
    keyed = [each for each in found.events if _key_of(each) is not None]
    if not keyed:
        return
    sequences = (each.sequence for each in keyed)
    now = dict(zip(sequences, await opened(keyed, keys), strict=True))
    found.rejected |= {
        record: BROKEN for record in records if now.get(record.position.offset, record) is None
    }
    events = (now.get(each.sequence, each) for each in found.events)
    found.events = [each for each in events if each is not None]


def is_sealed(each: SequencedEvent) -> bool:
    """Tell whether an event has fields that are sealed."""
    return _sealing(each) is not None


async def opened(
    keyed: Sequence[SequencedEvent],
    keys: ImageKeys,
    stated: Sequence[StatedKey | None] | None = None,
) -> list[SequencedEvent | None]:
    """Return events with their sealed fields, and of those that name a key, which key wraps it.

    One whose key cannot be had is locked; in the place of one that no gateway sealed is None.

    Args:
        keyed: Events that are sealed, or name a key.
        keys: Where their keys are.
        stated: The key of each, unless it is the one that the event states.
    """
    given = stated or [None] * len(keyed)
    found = await keys.find(
        [now or own for now, each in zip(given, keyed, strict=True) if (own := _key_of(each))]
    )
    return await asyncio.to_thread(lambda: list(map(_opened, keyed, found)))


def _sealing(each: SequencedEvent) -> Sealing | None:
    return each.event.sealing if isinstance(each.event, ImageStored) else None


def _key_of(each: SequencedEvent) -> StatedKey | None:
    if isinstance(each.event, ImageRewrapped):
        return each.event.new
    return None if (sealing := _sealing(each)) is None else sealing.key


def _opened(each: SequencedEvent, key: FoundKey) -> SequencedEvent | None:
    each = replace(each, kek=key.kek)
    if not isinstance(each.event, ImageStored) or each.event.sealing is None:
        return each
    if not isinstance(key.plain, bytes):
        return replace(each, is_locked=True, is_gone=key.is_gone)
    try:
        filename = each.event.sealing.open_fields(key.plain).filename
    except (BrokenSealError, ValueError):
        return None
    info = replace(each.event.info, filename=filename)
    return replace(each, event=replace(each.event, info=info))
