"""Events at their places, apart from the records that hold none."""

import pytest

from app.errors import NewerVersionError
from app.events.event import encode
from app.events.sequenced import SequencedEvent, sort
from app.log import Record
from tests.support.facts import NEWER, as_stored, deleted, stored

POISON = as_stored(Record(b"stranger", b"no event"), 6)


def test_events_have_the_offset_and_the_time_of_their_records():
    records = [
        as_stored(encode(stored(1)), 5, timestamp_ms=10),
        POISON,
        as_stored(encode(deleted(1)), 9, timestamp_ms=20),
    ]
    events, rejected = sort(records)
    assert events == [SequencedEvent(5, 10, stored(1)), SequencedEvent(9, 20, deleted(1))]
    assert list(rejected) == [POISON]
    assert rejected[POISON]


def test_an_event_of_a_newer_version_stops_the_sorting():
    with pytest.raises(NewerVersionError):
        sort([POISON, as_stored(NEWER, 7)])
