"""The rule by which events count, and the rows that they change: in `apply`, one by one.

Hides the order in which an event is judged, so that every replica decides alike, whenever it
builds its catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from app.catalog import claims, facts, images, moves, sealed, signing
from app.events.event import (
    ImageDeleted,
    ImageStored,
    SigningBegan,
    UnknownEvent,
)
from app.events.rewrapped import ImageRewrapped
from app.events.trust import SigningStart

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from app.events.sequenced import SequencedEvent


def apply(
    connection: sqlite3.Connection, sequenced: SequencedEvent, starts: Mapping[int, int]
) -> None:
    """Apply one event: the first copy of it counts, and a deletion is final.

    Args:
        connection: The catalog.
        sequenced: The event.
        starts: The first offset that can be read, by partition of `images`.
    """
    match sequenced.event:
        case ImageStored() as event:
            _announce(connection, sequenced, event, starts)
        case ImageDeleted() as event:
            deletion = moves.resolved(connection, event)
            # Where the log has erased the event that announced the image, this one has its claim.
            _counts(connection, sequenced, deletion)
            images.delete(connection, deletion, sequenced.timestamp_ms)
            facts.add_deleted(connection, sequenced.sequence, deletion)
        case ImageRewrapped() as event:
            sealed.rewrap(connection, event, sequenced)
        case SigningBegan(ends):
            # Without keys nothing is known to be signed, and the fact is ignored.
            if sequenced.signed:
                signing.begin(connection, SigningStart(sequenced.sequence, ends))
        case UnknownEvent():
            # Whatever a later release means by it, nothing here depends on it.
            pass
        case _:
            assert_never(sequenced.event)


def _announce(
    connection: sqlite3.Connection,
    sequenced: SequencedEvent,
    event: ImageStored,
    starts: Mapping[int, int],
) -> None:
    if event.move is not None:
        # An image may come back once it has left this log, which no event says: a catalog
        # that is built later must not take it for one that is still here.
        images.forget_gone(connection, event.move.former_ids, starts)
    # In this order: an image that was moved here twice is one use of its link.
    counts = moves.counts(connection, event) and _counts(connection, sequenced, event)
    if event.sealing is not None and not sequenced.is_locked:
        # Anybody may have put one in front of it, locked or in clear.
        sealed.give_way(connection, event.image_id)
    if counts and facts.add_stored(connection, sequenced.sequence, event):
        images.add(connection, sequenced.sequence, sequenced.timestamp_ms, event)
        moves.add(connection, event)
        sealed.add(connection, event, sequenced)
        if sequenced.signed:
            signing.add_signed(connection, event.image_id)


def _counts(
    connection: sqlite3.Connection, sequenced: SequencedEvent, event: ImageStored | ImageDeleted
) -> bool:
    """Tell whether the claim of an image counts, which each image makes once.

    The claim of an image that was moved here is a use of its link, whatever else is known of that:
    it counted where the image was uploaded.
    """
    if event.claim is None or facts.is_known(connection, event.image_id):
        return True
    is_taken = claims.take(connection, event.claim, sequenced.timestamp_ms)
    return is_taken or (isinstance(event, ImageStored) and event.move is not None)
