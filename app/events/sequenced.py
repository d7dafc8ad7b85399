"""Events at their places in the one total order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.events.event import PoisonEventError, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.events.event import Event
    from app.log import StoredRecord


@dataclass(frozen=True, slots=True)
class SequencedEvent:
    """An event with the offset and the timestamp of its record.

    The offset is the sequence number of the event; the log's clock made the timestamp.
    """

    sequence: int
    timestamp_ms: int
    event: Event


def sort(
    records: Sequence[StoredRecord],
) -> tuple[list[SequencedEvent], dict[StoredRecord, str]]:
    """Return the events in `records`, and the records that hold none, each with the reason.

    Raises:
        NewerVersionError: Only a newer version understands one of the events.
    """
    events: list[SequencedEvent] = []
    rejected: dict[StoredRecord, str] = {}
    for record in records:
        try:
            event = decode(record)
        except PoisonEventError as error:
            rejected[record] = str(error)
        else:
            events.append(SequencedEvent(record.position.offset, record.timestamp_ms, event))
    return events, rejected
