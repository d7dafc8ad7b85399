"""The rule by which events count, and the rows that they change: in `apply`, one by one.

Hides the order in which an event is judged, so that every replica decides alike, whenever it
builds its catalog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from app.catalog import claims, facts, images, moves, sealed, signing, tokens
from app.events.event import ImageDeleted, ImageStored, SigningBegan, UnknownEvent
from app.events.rewrapped import ImageRewrapped
from app.events.trust import SigningStart

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from app.catalog.images import CatalogImage
    from app.events.sequenced import SequencedEvent


def apply(
    connection: sqlite3.Connection, sequenced: SequencedEvent, starts: Mapping[int, int]
) -> CatalogImage | None:
    """Apply one event: the first copy of it counts, and a deletion is final.

    Args:
        connection: The catalog.
        sequenced: The event.
        starts: The first offset that can be read, by partition of `images`.

    Returns:
        The image that it has listed, if it has.
    """
    match sequenced.event:
        case ImageStored() as event:
            if event.move is not None:
                # An image may come back once it has left this log, which no event says: a catalog
                # that is built later must not take it for one that is still here.
                images.forget_gone(connection, event.move.former_ids, starts)
            return _store(connection, sequenced, event)
        case ImageDeleted() as event:
            _delete(connection, sequenced, moves.resolved(connection, event))
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
    return None


def _store(
    connection: sqlite3.Connection, sequenced: SequencedEvent, event: ImageStored
) -> CatalogImage | None:
    is_known = facts.is_known(connection, event.image_id)
    has_won = tokens.has_won(connection, event, sequenced.timestamp_ms)
    # In this order: an image that was moved here twice is one use of its link, and one that lost
    # its token is none.
    counts = has_won and moves.counts(connection, event) and _counts(connection, sequenced, event)
    if event.sealing is not None and not sequenced.is_locked:
        # Anybody may have put one in front of it, locked or in clear.
        sealed.give_way(connection, event.image_id)
    if counts and facts.add_stored(connection, sequenced.sequence, event):
        listed = images.add(connection, sequenced.sequence, sequenced.timestamp_ms, event)
        moves.add(connection, event)
        tokens.take(connection, event, sequenced.timestamp_ms)
        sealed.add(connection, event, sequenced)
        if sequenced.signed:
            signing.add_signed(connection, event.image_id)
        return listed
    if not (has_won or is_known):
        tokens.lose(connection, sequenced.sequence, event, sequenced.timestamp_ms)
    return None


def _delete(
    connection: sqlite3.Connection, sequenced: SequencedEvent, deletion: ImageDeleted
) -> None:
    # Where the log has erased the event that announced the image, this one has its claim and its
    # token.
    _counts(connection, sequenced, deletion)
    if not facts.is_known(connection, deletion.image_id):
        tokens.take_deleted(connection, deletion, sequenced.timestamp_ms)
    images.delete(connection, deletion, sequenced.timestamp_ms)
    # Nobody was told of an image that lost its token.
    if not tokens.note_deleted(connection, deletion.image_id):
        facts.add_deleted(connection, sequenced.sequence, deletion)


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
