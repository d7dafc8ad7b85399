"""Events at their places, apart from the records that hold none."""

from datetime import UTC, datetime

import pytest

from app.events.event import encode
from app.events.sequenced import SequencedEvent, sort
from app.events.trust import Trust
from app.log import Record
from tests.support.facts import NEWER, as_stored, deleted, stored

POISON = as_stored(Record(b"stranger", b"no event"), 6)


def test_events_have_the_offset_and_the_time_of_their_records():
    records = [
        as_stored(encode(stored(1)), 5, timestamp_ms=10),
        POISON,
        as_stored(encode(deleted(1)), 9, timestamp_ms=20),
    ]
    found = sort(records, Trust())
    assert found.events == [SequencedEvent(5, 10, stored(1)), SequencedEvent(9, 20, deleted(1))]
    assert list(found.rejected) == [POISON]
    assert found.rejected[POISON]
    assert found.newer is None


def test_an_event_of_a_newer_version_ends_the_sorting_and_what_is_before_it_counts():
    before, behind = as_stored(encode(stored(1)), 5), as_stored(encode(deleted(1)), 8)
    found = sort([before, POISON, as_stored(NEWER, 7), behind], Trust())
    assert [each.sequence for each in found.events] == [5]
    assert list(found.rejected) == [POISON]
    assert (found.newer_at, found.newer.code) == (7, "newer-version")


@pytest.mark.parametrize(("given", "applied"), [(-1, 0), (2**62, 253_402_300_799_999)])
def test_a_time_that_no_clock_shows_is_the_nearest_that_json_can_name(given, applied):
    [event] = sort([as_stored(encode(deleted(1)), 5, timestamp_ms=given)], Trust()).events
    assert event.timestamp_ms == applied
    assert datetime.fromtimestamp(event.timestamp_ms / 1000, UTC).year in (1970, 9999)
