"""Events at their places in the one total order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import NewerVersionError
from app.events.event import PoisonEventError, SigningBegan, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.events.event import Event, UnknownEvent
    from app.events.trust import Trust
    from app.log import StoredRecord

# The end of the year 9999, the last that a time in JSON can name. Brokers stamp records with their
# own clock, but records from before a topic's rules were mended may have any timestamp.
_MAX_TIMESTAMP_MS = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class SequencedEvent:
    """An event with the offset and the timestamp of its record.

    The offset is the sequence number of the event; the log's clock made the timestamp. `signed`
    tells whether a known key signed it: without keys, none did. It is locked if its sealed fields
    could not be opened for want of a key, for ever if that is gone. `kek` is the id of the key that
    wraps the image's, if it was found.
    """

    sequence: int
    timestamp_ms: int
    event: Event | UnknownEvent
    signed: bool = False
    is_locked: bool = False
    is_gone: bool = False
    kek: str = ""


@dataclass(slots=True)
class Sorted:
    """The contents of records of `image-events`.

    Attributes:
        events: The events, in order.
        rejected: The records that hold none, each with the reason.
        newer: The error of the first event that only a newer version understands: neither it nor
            anything behind it is sorted.
        newer_at: The offset of that event.
    """

    events: list[SequencedEvent] = field(default_factory=list)
    rejected: dict[StoredRecord, str] = field(default_factory=dict)
    newer: NewerVersionError | None = None
    newer_at: int = -1


def sort(records: Sequence[StoredRecord], trust: Trust) -> Sorted:
    """Tell the events in `records` from what is none, or a stranger's."""
    found = Sorted()
    for record in records:
        sequence = record.position.offset
        try:
            # First: a stranger's event must not stop a reader.
            signed = trust.signed(record)
            event = decode(record)
            if isinstance(event, SigningBegan):
                trust.begin(sequence, event, signed=signed)
        except PoisonEventError as error:
            found.rejected[record] = str(error)
        except NewerVersionError as error:
            found.newer, found.newer_at = error, sequence
            break
        else:
            timestamp_ms = min(max(record.timestamp_ms, 0), _MAX_TIMESTAMP_MS)
            found.events.append(SequencedEvent(sequence, timestamp_ms, event, signed))
    return found
