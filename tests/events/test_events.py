"""Events, as any CloudEvents reader sees them, and records that are none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NewerVersionError
from app.events import event as events
from app.log import Position, StoredRecord
from tests.support.facts import as_stored, deleted, image_id, info, stored


def record(value):
    if value is not None and not isinstance(value, bytes):
        value = json.dumps(value).encode()
    return StoredRecord(Position(0, 7), b"key", value, (), 0)


def envelope(**changes):
    """An event as JSON; a change to None removes the attribute."""
    changed = json.loads(events.encode(stored()).value) | changes
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize(
    "event", [stored(), stored(2, filename=None, frame_count=9, kept=False), deleted(3)]
)
def test_an_event_survives_its_record(event):
    assert events.decode(as_stored(events.encode(event))) == event


def test_an_event_is_a_cloudevent_in_structured_mode():
    encoded = events.encode(stored(5))
    event = json.loads(encoded.value)
    assert encoded.key == image_id(5).encode() == event["subject"].encode()
    assert dict(encoded.headers)["content-type"].startswith(b"application/cloudevents+json")
    assert event["specversion"] == "1.0"
    assert event["type"] == "image.stored"
    assert event["imagegateversion"] == 1
    assert event["id"]
    assert event["source"]
    # Extension attributes: lower-case letters and digits (CloudEvents 1.0.2, section 3.1).
    assert all(name.isalnum() and name == name.lower() for name in event)


def test_each_event_has_an_id_of_its_own():
    ids = {json.loads(events.encode(deleted()).value)["id"] for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "event"),
        (b"", "event"),
        (b"\xff\xfe", "event"),
        (b'{"specversion": "1.0"', "event"),
        (b"[" * 100_000, "event"),
        ([], "event"),
        ("text", "event"),
        (envelope(imagegatechunks="1,0:99999999999999999999"), "imagegatechunks"),
        (envelope(imagegatechunks="1,-1:0"), "imagegatechunks"),
        (envelope(imagegatechunks="1,65536:0"), "imagegatechunks"),
        (envelope(type=None), "type"),
        (envelope(type="image.painted"), "painted"),
        (envelope(type=7), "type"),
        (envelope(specversion="2.0"), "specversion"),
        (envelope(id=None), "id"),
        (envelope(id=""), "id"),
        (envelope(source=None), "source"),
        (envelope(subject=None), "subject"),
        (envelope(subject="a" * 31), "subject"),
        (envelope(subject="A" * 32), "subject"),
        (envelope(imagegateversion=None), "imagegateversion"),
        (envelope(imagegateversion=0), "imagegateversion"),
        (envelope(imagegateversion="new"), "imagegateversion"),
        (envelope(data=None), "data"),
        (envelope(data={}), "data"),
        (envelope(data={"width": "wide"}), "data"),
    ],
)
def test_what_is_no_event_is_poison_and_says_where(value, reason):
    with pytest.raises(events.PoisonEventError, match=reason):
        events.decode(record(value))


def test_poison_is_named_without_quoting_what_it_holds():
    secret = envelope(data=envelope()["data"] | {"width": "SECRET"})
    with pytest.raises(events.PoisonEventError) as caught:
        events.decode(record(secret))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        envelope(imagegateversion=2),
        envelope(imagegateversion=2, type="image.painted", data=None),
        {"imagegateversion": 99},
    ],
)
def test_an_event_of_a_newer_version_stops_the_reader_and_names_its_offset(value):
    with pytest.raises(NewerVersionError, match="offset 7"):
        events.decode(record(value))


def test_an_event_with_attributes_of_a_later_release_is_read():
    later = envelope(traceparent="00-1-2-3", data=envelope()["data"] | {"blurhash": "LEHV"})
    assert events.decode(record(later)) == stored()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary() | JSON)
def test_no_bytes_break_the_reader(value):
    with pytest.raises((events.PoisonEventError, NewerVersionError)):
        events.decode(record(value))


@given(st.sampled_from(sorted(envelope())), JSON)
def test_no_value_of_an_attribute_breaks_the_reader(name, value):
    try:
        event = events.decode(record(envelope() | {name: value}))
    except (events.PoisonEventError, NewerVersionError):
        return
    assert event.info == info()
