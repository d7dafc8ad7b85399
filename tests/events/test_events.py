"""Events, as any CloudEvents reader sees them, and records that are none."""

import dataclasses
import datetime as dt
import json
import re
import time

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import NewerVersionError
from app.events import event as events
from app.events import move
from app.events.idempotency import FormerToken
from app.imaging.info import Visibility
from app.log import Position, StoredRecord
from app.records import chunk_list
from tests.support.bounds import within_bounds
from tests.support.facts import (
    TOKEN,
    UNKNOWN,
    as_stored,
    claimed,
    deleted,
    envelope,
    image_id,
    info,
    keyed,
    moved,
    stored,
)

ONCE = {"imagegateidempotency": TOKEN, "imagegatefingerprint": TOKEN}


def record(value):
    if value is not None and not isinstance(value, bytes):
        value = json.dumps(value).encode()
    return StoredRecord(Position(0, 7), b"key", value, (), 0)


def with_data(**changes):
    return envelope(data=envelope()["data"] | changes)


@pytest.mark.parametrize(
    "event",
    [
        stored(),
        stored(2, filename=None, frame_count=9, kept=False),
        stored(4, owner="https://login.example#Zoë", visibility=Visibility.OWNER),
        claimed(6, uses=10_000),
        keyed(11),
        events.ImageDeleted(image_id(12), former_token=FormerToken(TOKEN, 1_700_000_000_123)),
        deleted(3),
        events.ImageDeleted(image_id(5), "key:1", Visibility.AUTHENTICATED),
        events.ImageDeleted(image_id(7), claim=claimed().claim),
        moved(8, 1),
        moved(9, 1, 2, owner="key:1", visibility=Visibility.OWNER),
        dataclasses.replace(moved(10, 1, created_at_ms=0), claim=claimed().claim),
        events.ImageDeleted(image_id(11), former_ids=(image_id(1), image_id(2))),
    ],
    ids=lambda event: event.image_id,
)
def test_an_event_survives_its_record(event):
    assert events.decode(as_stored(events.encode(event))) == event


@pytest.mark.parametrize("event", [stored(5), deleted(5), events.SigningBegan((1, 2))])
def test_the_sdk_of_cloudevents_reads_an_event_with_its_time(event):
    before = dt.datetime.now(dt.UTC)
    encoded = events.encode(event)
    message = KafkaMessage(dict(encoded.headers), None, encoded.value)
    read = from_structured(message, JSONFormat())
    assert isinstance(read, CloudEvent)
    written = json.loads(encoded.value)
    assert (read.get_id(), read.get_type()) == (written["id"], written["type"])
    assert (read.get_source(), read.get_subject()) == ("urn:imagegate", written["subject"])
    assert read.get_extension("imagegateversion") == 1
    assert read.get_data() == written.get("data")
    # To the millisecond.
    slack = dt.timedelta(milliseconds=1)
    assert before - slack <= read.get_time() <= dt.datetime.now(dt.UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written["time"])


def test_an_event_without_a_time_of_an_earlier_release_is_read():
    assert isinstance(events.decode(record(envelope(time=None))), events.ImageStored)


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


@pytest.mark.parametrize(
    ("event", "version"),
    [
        (stored(), 1),
        (stored(owner="key:1"), 1),
        (stored(owner="key:1", visibility=Visibility.PUBLIC), 1),
        (stored(owner="key:1", visibility=Visibility.AUTHENTICATED), 2),
        (stored(visibility=Visibility.OWNER), 2),
        (claimed(), 2),
        (keyed(), 7),
        (events.ImageDeleted(image_id(1), former_token=FormerToken(TOKEN, 1)), 1),
        # It hides an image, which an older reader does rightly.
        (events.ImageDeleted(image_id(1), "key:1", Visibility.OWNER, claimed().claim), 1),
        (events.SigningBegan((1,)), 1),
        (moved(2, 1), 3),
        (moved(2, 1, visibility=Visibility.OWNER), 3),
        # An older reader would still serve it, by its former id.
        (events.ImageDeleted(image_id(2), former_ids=(image_id(1),)), 3),
    ],
)
def test_only_what_an_older_reader_would_misread_is_of_a_higher_version(event, version):
    assert json.loads(events.encode(event).value)["imagegateversion"] == version


def test_an_image_without_owner_and_visibility_has_no_word_of_them():
    for event in (stored(), deleted()):
        encoded = json.loads(events.encode(event).value)
        said = {*encoded, *encoded.get("data", {})}
        assert not [name for name in said if "owner" in name or "visibility" in name]


def test_a_moved_image_has_its_former_ids_and_the_time_of_then():
    event = json.loads(events.encode(moved(3, 1, 2)).value)
    assert event["type"] == "image.moved"
    assert event["subject"] == image_id(3)
    assert event["imagegateformerids"] == f"{image_id(1)},{image_id(2)}"
    assert event["imagegatecreatedat"] == "2020-09-13T12:26:40.123Z"
    assert event["data"] == json.loads(events.encode(stored(3)).value)["data"]


def test_the_longest_owner_and_file_name_fit_with_the_longest_list_of_chunks():
    former = range(2, 2 + move.MAX_FORMER_IDS)
    longest = moved(1, *former, filename="\U0001f4f7" * 200, owner="\U0001f4f7" * 1_000)
    assert len(events.encode(longest).value) + 45_000 < events.MAX_BYTES


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"imagegateformerids": ""}, "imagegateformerids"),
        ({"imagegateformerids": None}, "imagegateformerids"),
        ({"imagegateformerids": f"{image_id(1)},"}, "imagegateformerids"),
        ({"imagegateformerids": "aaaa"}, "imagegateformerids"),
        ({"imagegateformerids": [image_id(1)]}, "imagegateformerids"),
        ({"imagegateformerids": image_id(3)}, "imagegateformerids"),
        ({"imagegateformerids": f"{image_id(1)},{image_id(1)}"}, "imagegateformerids"),
        (
            {"imagegateformerids": ",".join(map(image_id, range(10, 43)))},
            "imagegateformerids: too many",
        ),
        ({"imagegatecreatedat": None}, "imagegatecreatedat"),
        ({"imagegatecreatedat": 1_600_000_000}, "imagegatecreatedat"),
        ({"imagegatecreatedat": "2020-09-13T12:26:40Z"}, "imagegatecreatedat"),
        ({"imagegatecreatedat": "2020-09-31T12:26:40.123Z"}, "event"),
        ({"imagegatecreatedat": "1969-12-31T23:59:59.999Z"}, "imagegatecreatedat: before 1970"),
        ({"imagegateversion": 2}, "imagegateversion"),
        ({"data": None}, "data"),
    ],
)
def test_a_move_that_no_gateway_wrote_is_none(members, reason):
    said = json.loads(events.encode(moved(3, 1, 2)).value) | members
    given = {name: value for name, value in said.items() if value is not None}
    with pytest.raises(events.PoisonEventError, match=reason):
        events.decode(record(given))


def test_a_deletion_with_former_ids_is_of_version_3():
    deletion = events.ImageDeleted(image_id(2), former_ids=(image_id(1),))
    said = json.loads(events.encode(deletion).value) | {"imagegateversion": 2}
    with pytest.raises(events.PoisonEventError, match="imagegateversion"):
        events.decode(record(said))


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
        (envelope(type="painted"), "type"),
        (envelope(type="image."), "type"),
        (envelope(type="image.\u202edetniap"), "type"),
        (envelope(type="image." + "x" * 100), "type"),
        (envelope(type=7), "type"),
        (envelope(specversion="2.0"), "specversion"),
        (envelope(id=None), "id"),
        (envelope(id=""), "id"),
        (envelope(id="x" * 101), "id"),
        (envelope(id="\x1b[2J"), "id"),
        (envelope(source=None), "source"),
        (envelope(source="urn:stranger"), "source"),
        (envelope(subject=None), "subject"),
        (envelope(subject="a" * 31), "subject"),
        (envelope(subject="A" * 32), "subject"),
        (envelope(imagegateversion=None), "imagegateversion"),
        (envelope(imagegateversion=0), "imagegateversion"),
        (envelope(imagegateversion="new"), "imagegateversion"),
        (envelope(imagegateversion="1"), "imagegateversion"),
        (envelope(imagegateversion=1.0), "imagegateversion"),
        (envelope(imagegateversion=True), "imagegateversion"),
        (envelope(imagegateversion=2**31), "imagegateversion"),
        ({"imagegateversion": events.VERSION + 1}, "Field required"),
        (envelope(imagegateversion=events.VERSION + 1, source="urn:stranger"), "source"),
        (envelope(imagegateversion=events.VERSION + 1, subject="x"), "subject"),
        (envelope(imagegateversion=events.VERSION + 1, type="other.stored"), "type"),
        (envelope(imagegateversion=events.VERSION + 1, padding="x" * 65_536), "65,536 bytes"),
        (json.dumps(envelope())[:-1].encode() + b', "type": "image.deleted"}', "twice"),
        (json.dumps(envelope(later={})).replace("{}", '{"a": 1, "a": 1}').encode(), "twice"),
        (json.dumps(envelope(later=float("nan"))).encode(), "NaN"),
        (json.dumps(envelope(later=0)).replace('"later": 0', '"later": 1e999').encode(), "range"),
        (json.dumps(envelope()).encode("utf-16"), "event"),
        (envelope(data=None), "data"),
        (envelope(data={}), "data"),
        (envelope(data={"width": "wide"}), "data"),
        (with_data(width="640"), "data.width"),
        (with_data(width=0), "data.width"),
        (with_data(width=2**31), "data.width"),
        (with_data(height=640.0), "data.height"),
        (with_data(frame_count=True), "data.frame_count"),
        (with_data(content_length=2**53), "data.content_length"),
        (with_data(content_length=-1), "data.content_length"),
        (with_data(content_length=4320), "not content_length"),
        (with_data(stored_bytes=4320), "not content_length"),
        (with_data(content_encoding="lepton", stored_bytes=4000), "no JPEG"),
        (with_data(content_encoding="x" * 101), "data.content_encoding"),
        (with_data(content_type="image/svg+xml"), "data.content_type"),
        (with_data(content_type="image/jxl"), "data.content_type"),
        (with_data(content_type="text/html"), "data.content_type"),
        (with_data(digest="AB" * 32), "data.digest"),
        (with_data(received_digest="ab" * 31), "data.received_digest"),
        (with_data(filename=""), "data.filename"),
        (with_data(filename="x" * 201), "data.filename"),
        (with_data(filename="\u202egpj.exe"), "data.filename"),
        (with_data(filename="\x9b2J"), "data.filename"),
        (with_data(filename="../a.png"), "data.filename"),
        (with_data(filename="\ud800"), "."),
        (with_data(profile=""), "data.profile"),
        (with_data(profile="x" * 101), "data.profile"),
        (with_data(codec="\n"), "data.codec"),
        (with_data(kept="yes"), "data.kept"),
        (with_data(metadata_removed=["exif"] * 65), "data.metadata_removed"),
        (with_data(metadata_removed=["\u2066"]), "data.metadata_removed"),
        (with_data(quality="100"), "data.quality"),
        (with_data(owner="key:\n"), "data.owner"),
        (with_data(owner="k" * 1_001), "data.owner"),
        (with_data(owner=None), "data.owner"),
        (with_data(visibility="everyone"), "data.visibility"),
        (with_data(visibility=1), "data.visibility"),
        (envelope(type="image.deleted", imagegateowner=7), "imagegateowner"),
        (envelope(type="image.deleted", imagegatevisibility="all"), "imagegatevisibility"),
        (envelope(imagegatechunks="0"), "imagegatechunks"),
        (envelope(imagegatechunks="16384"), "imagegatechunks"),
        (envelope(imagegatechunks="4000,0:1"), "imagegatechunks: chunks of less"),
        (envelope(imagegatechunks="16384,0:1"), "imagegatechunks: not as many"),
        (envelope(imagegatechunks=7), "imagegatechunks"),
        (envelope(imagegateclaim=f"{'A' * 16},1,9"), "lower than what"),
        (envelope(imagegateversion=2, imagegateclaim=7), "imagegateclaim"),
        (envelope(imagegateversion=2, imagegateclaim="A,1,9"), "imagegateclaim: not LINK"),
        (envelope(imagegateversion=2, imagegateclaim=f"{'A' * 16},0,9"), "imagegateclaim"),
        (envelope(imagegateversion=2, imagegateclaim=f"{'A' * 16},1,09"), "imagegateclaim"),
        (envelope(imagegateversion=2, imagegateclaim=f"{'A' * 16},1,9,"), "imagegateclaim"),
        (envelope(type="image.deleted", data=None, imagegateclaim="A"), "imagegateclaim"),
        (envelope(imagegateversion=6, **ONCE), "lower than what"),
        (envelope(imagegateversion=7, **ONCE | {"imagegateidempotency": 7}), "idempotency"),
        (envelope(imagegateversion=7, **ONCE | {"imagegatefingerprint": "A"}), "fingerprint"),
        (envelope(imagegateversion=7, imagegateidempotency=TOKEN), "without imagegatefingerprint"),
        (envelope(imagegateversion=7, imagegatefingerprint=TOKEN), "without imagegatefingerprint"),
        (envelope(type="image.deleted", data=None, **ONCE), "imagegatecreatedat"),
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
        envelope(imagegateversion=events.VERSION + 1),
        envelope(imagegateversion=events.VERSION + 1, type="image.painted", data=None),
        envelope(imagegateversion=2**31 - 1, data=7, imagegatechunks=[]),
    ],
)
def test_an_event_of_a_newer_version_stops_the_reader_and_names_its_offset(value):
    with pytest.raises(NewerVersionError, match="offset 7"):
        events.decode(record(value))


def test_an_event_with_attributes_of_a_later_release_is_read():
    later = envelope(traceparent="00-1-2-3", data=envelope()["data"] | {"blurhash": "LEHV"})
    assert events.decode(record(later)) == stored()


def test_an_event_of_an_unknown_type_is_a_fact_of_a_later_release():
    assert events.decode(as_stored(UNKNOWN)) == events.UnknownEvent(image_id(1), "image.tagged")


# Time is measured below, without that of other processes.
patient = settings(deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def outcome(value):
    """Return the event in a value, or the kind and the text of the error."""
    try:
        return events.decode(record(value))
    except (events.PoisonEventError, NewerVersionError) as error:
        return type(error), str(error)


def thorough(value):
    """Return the outcome where each part is checked by itself, as of an event of another kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "_usual", lambda *_: None)
        return outcome(value)


VALID = [
    stored(),
    stored(2, filename=None, frame_count=9, kept=False, expires_at=1_900_000_000),
    stored(4, owner="https://login.example#Zoë", visibility=Visibility.OWNER, source="gate"),
    claimed(6, uses=10_000),
    keyed(11),
    deleted(3),
    moved(5, 8),
]


# What a lax reader takes for something else, and what is beyond a bound.
NEARLY = (None, True, 0, 1, 1.0, -1, 2**53, 10**30, "", "1", "true", " ", "a" * 300, [], ["a"], {})


@pytest.mark.parametrize("event", VALID)
def test_one_check_of_an_event_believes_what_one_of_each_part_does(event):
    valid = json.loads(events.encode(event).value)
    properties = valid.get("data", {})
    names = [*envelope(), *ONCE, "imagegateclaim", "imagegatechunks"]
    changed = [{name: value} for name in names for value in (*NEARLY, *range(2, 10))]
    changed += [
        {"data": properties | {name: value}}
        for name in info().as_dict()
        for value in (*NEARLY, str(properties.get(name)))
    ]
    missing = [{k: v for k, v in valid.items() if k != name} for name in valid]
    for each in [valid, *missing, *(valid | changes for changes in changed)]:
        value = json.dumps(each).encode()
        assert outcome(value) == thorough(value)


@patient
@given(st.sampled_from(VALID), st.integers(0, 2_000), st.binary(max_size=3))
def test_one_check_of_mangled_bytes_believes_what_one_of_each_part_does(event, at, put):
    value = events.encode(event).value
    mangled = value[: at % len(value)] + put + value[at % len(value) + 1 :]
    assert outcome(mangled) == thorough(mangled)


def decoded_or_refused(value):
    """Decode a value, which takes no longer than a few milliseconds, whatever it is."""
    started = time.thread_time()
    try:
        return events.decode(record(value))
    except (events.PoisonEventError, NewerVersionError):
        return None
    finally:
        # The slowest takes 8 ms.
        assert time.thread_time() - started < 0.2


@patient
@given(st.binary() | JSON)
def test_no_bytes_break_the_reader(value):
    assert decoded_or_refused(value) is None


@patient
@given(st.sampled_from(sorted(envelope())), JSON)
def test_no_value_of_an_attribute_breaks_the_reader(name, value):
    match decoded_or_refused(envelope() | {name: value}):
        case events.ImageStored() as event:
            assert event.info == info()


@patient
@given(st.dictionaries(st.sampled_from(sorted(envelope()["data"])), JSON, min_size=1))
def test_no_value_of_a_property_breaks_the_reader_or_goes_beyond_its_bounds(changes):
    if event := decoded_or_refused(with_data(**changes)):
        within_bounds(event.info)


@patient
@given(
    st.text("0123456789,:-+ _٣", max_size=40)
    | st.builds(
        lambda size, places: ",".join([str(size), *(f"{a}:{b}" for a, b in places)]),
        st.integers(-1, 2**40),
        st.lists(st.tuples(st.integers(-1, 70_000), st.integers(-1, 2**50)), max_size=9),
    ),
    st.integers(1, 100_000),
)
def test_no_list_of_chunks_breaks_the_reader(text, length):
    data = envelope()["data"] | {"content_length": length, "stored_bytes": length}
    if event := decoded_or_refused(envelope(data=data, imagegatechunks=text)):
        assert len(event.chunks) <= length // chunk_list.MIN_CHUNK_BYTES
        assert len(set(event.chunks)) == len(event.chunks)


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":' * 13_000,
        b'{"a":1,' * 9_000,
        b"[" * 65_000,
        b"1" * 65_000,
        b'{"a": -' + b"1" * 65_000 + b"}",
        b'{"a": ' + b"1" * 4_000 + b"}",
        json.dumps(envelope(later=list(range(9_000)))).encode(),
        json.dumps({str(number): 0 for number in range(6_000)}).encode(),
        json.dumps(
            envelope(
                data=envelope()["data"] | {"content_length": 2**26, "stored_bytes": 2**26},
                imagegatechunks="16384," + ",".join(f"{n}:{n}" for n in range(1, 4096)),
            )
        ).encode(),
        json.dumps(envelope(imagegatechunks=",".join(["0:0"] * 15_000))).encode(),
    ],
)
def test_the_worst_that_fits_an_event_is_read_quickly(value):
    assert len(value) <= events.MAX_BYTES + 30_000
    decoded_or_refused(value)
