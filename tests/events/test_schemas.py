"""The published schemas of events, and the reader: both believe the same."""

import itertools
import json
import re

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError

from app.errors import NewerVersionError
from app.events import event as events
from app.events.idempotency import FormerToken
from app.imaging.info import Visibility
from app.log import Position, StoredRecord
from dev.openapi.events import documents, text_of
from tests.support.asyncapi import EVENTS, Validator, closed, load
from tests.support.facts import TOKEN, claimed, deleted, envelope, image_id, keyed, moved, stored

TYPES = ["image.stored", "image.moved", "image.deleted", "image.rewrapped", "image.signing-began"]
# With the same meaning in JSON Schema 2020-12 and in draft 7.
KEYWORDS = {
    *("$id", "$schema", "title", "description", "type", "properties", "required", "const", "enum"),
    *("pattern", "maxLength", "minimum", "maximum", "items", "maxItems"),
}
# Both sides of each bound of a text and of a number, characters one by one, and other types.
LENGTHS = (1, 63, 64, 65, 100, 101, 200, 201, 1_000, 1_001)
CHARACTERS = (
    "\x00\t\n\r\x1f ./\\~\x7f\x80\x9f\xa0é\u200d\u200e\u200f\u2010\u2029\u202a\u202c\u202e\u202f"
    "\u2065\u2066\u2068\u2069\u206a\U0001f4f7"
)
NUMBERS = (-1, 0, 1, 2, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 0.5, -87.5)
VALUES = [
    *(None, True, False, {}, [], [""], ["exif"] * 64, ["exif"] * 65, ["é"], [1], [None]),
    *NUMBERS,
    *("", "ab" * 32, "AB" * 32, "ab" * 31 + "ag", "image/jpeg", "image/bmp", "image/jxl"),
    *("public", "owner", "Owner", "lepton", "1.0", "urn:imagegate", "aabq" * 8, "aab1" * 8),
    *("a" * length for length in LENGTHS),
    *("\U0001f4f7" * length for length in LENGTHS),
    *(f"a{each}" for each in CHARACTERS),
]
CLAIMS = [
    *("A" * 16 + ",1,9", "-_z0" * 4 + ",999999,999999999999", "A" * 16 + ",1,9\n", "A" * 16),
    *("A" * 15 + ",1,9", "A" * 17 + ",1,9", "A" * 15 + "é,1,9", "A" * 16 + ",0,9"),
    *("A" * 16 + ",01,9", "A" * 16 + ",1,0", "A" * 16 + ",1,09", "A" * 16 + ",1000000,9"),
    *("A" * 16 + ",1,1000000000000", "A" * 16 + ",1", "A" * 16 + ",1,9,9", "A" * 16 + ",-1,9", 7),
]
FORMER_IDS = [
    *map(image_id, (1, 2)),
    *(",".join(map(image_id, range(10, end))) for end in (12, 42, 43)),
    *("aaaa", f"{image_id(1)},", f",{image_id(1)}", image_id(1).upper(), f"{image_id(1)}\n", 7, []),
]
ENVELOPE = sorted(envelope())
UNSAID = {"owner", "visibility", "expires_at", "source", "metadata", "expires_in"}
DATA = sorted(envelope()["data"].keys() | UNSAID)


def schema(kind):
    return load(EVENTS / f"{kind}.json")


def nodes(part):
    """Yield every schema in a schema."""
    yield part
    for inner in part.get("properties", {}).values():
        yield from nodes(inner)
    if "items" in part:
        yield from nodes(part["items"])


def is_believed(event):
    try:
        events.decode(StoredRecord(Position(0, 7), b"key", json.dumps(event).encode(), (), 0))
    except (events.PoisonEventError, NewerVersionError):
        return False
    return True


def agree(event, kind="image.stored"):
    assert Validator(schema(kind)).is_valid(event) == is_believed(event)


def test_the_files_are_those_of_the_code():
    written = {path.name: path.read_text("utf-8") for path in EVENTS.iterdir()}
    made = {f"{kind}.json": text_of(document) for kind, document in documents().items()}
    assert written == made, "run make openapi"
    assert list(documents()) == TYPES


def test_the_schemas_are_for_every_version_that_a_gateway_knows():
    versions = [schema(kind)["properties"]["imagegateversion"]["enum"] for kind in TYPES]
    assert set().union(*versions) == set(range(1, events.VERSION + 1))


@pytest.mark.parametrize("kind", TYPES)
def test_a_schema_means_the_same_in_2020_12_and_in_draft_7(kind):
    for draft in (Draft202012Validator, Draft7Validator):
        draft.check_schema(schema(kind))
    parts = list(nodes(schema(kind)))
    assert len(parts) > 8
    assert set().union(*parts) <= KEYWORDS
    # The engines of Go, Java and JavaScript read these alike.
    patterns = [part["pattern"] for part in parts if "pattern" in part]
    assert all(each[0] == "^" and each[-1] == "$" for each in patterns)
    assert not [each for each in patterns if "(?" in each or "\\u" in each or "\\d" in each]


@pytest.mark.parametrize(
    "event",
    [
        stored(),
        stored(2, filename=None, quality=87.5, metadata_removed=("exif", "gps")),
        stored(3, content_type="image/jpeg", content_encoding="lepton", stored_bytes=4_000),
        stored(4, owner="https://login.example#Zoë", visibility=Visibility.OWNER),
        stored(7, expires_at=4_000_000_000),
        claimed(6, uses=10_000),
        keyed(10),
        deleted(3),
        events.ImageDeleted(image_id(5), "key:1", Visibility.AUTHENTICATED, claimed().claim),
        moved(8, 1, 2, owner="key:1", visibility=Visibility.OWNER),
        events.ImageDeleted(image_id(9), former_ids=(image_id(1), image_id(2))),
        events.ImageDeleted(image_id(11), former_token=FormerToken(TOKEN, 1_700_000_000_123)),
        events.SigningBegan((0, 2**48 - 1)),
    ],
)
def test_what_is_encoded_is_as_its_schema_says_and_no_other(event):
    written = json.loads(events.encode(event).value)
    Validator(closed(schema(written["type"]))).validate(written)
    fitting = [kind for kind in TYPES if Validator(schema(kind)).is_valid(written)]
    assert fitting == [written["type"]]


def test_the_example_of_a_reader_that_validates_refuses_what_is_not_as_described(monkeypatch):
    page = (EVENTS.parents[1] / "docs/kafka.md").read_text("utf-8")
    [example] = [
        each for each in re.findall(r"(?ms)^```python\n(.*?)^```", page) if "SCHEMAS" in each
    ]
    assert f'if event["imagegateversion"] > {events.VERSION}:' in example
    monkeypatch.chdir(EVENTS.parents[1])
    names = {}
    exec(example, names)  # noqa: S102
    for event in (envelope(), envelope(type="image.tagged")):
        assert names["read"](json.dumps(event)) == event
    for event, version in itertools.product(
        ("image.stored", "image.tagged"), (events.VERSION + 1, 2**31 - 1)
    ):
        with pytest.raises(ValueError, match="stop"):
            names["read"](json.dumps(envelope(type=event, imagegateversion=version)))
    with pytest.raises(ValidationError):
        names["read"](json.dumps(envelope(source="urn:stranger")))


def test_an_event_of_an_earlier_release_without_time_and_of_a_later_one_with_more_are_valid():
    data = envelope()["data"] | {"blurhash": "LEHV"}
    for name in ("content_encoding", "metadata_removed", "quality"):
        del data[name]
    earlier = envelope(time=None, datacontenttype=None, traceparent="00-1", data=data)
    Validator(schema("image.stored")).validate(earlier)
    assert is_believed(earlier)


@pytest.mark.parametrize("name", DATA)
def test_a_property_is_valid_where_a_reader_believes_it(name):
    # It is written where it says something; that it says nothing is believed too.
    unsaid = ("", None) if name in UNSAID else ()
    for value in VALUES:
        data = envelope()["data"] | {name: value}
        if name in {"content_length", "stored_bytes"}:
            data |= {"content_length": value, "stored_bytes": value}
        if name == "content_encoding":
            data["content_type"] = "image/jpeg"
        # An end needs the highest version.
        if value not in unsaid:
            agree(envelope(data=data, imagegateversion=events.VERSION))


@pytest.mark.parametrize("name", ["specversion", "id", "source", "subject"])
def test_an_attribute_is_valid_where_a_reader_believes_it(name):
    for value in VALUES:
        agree(envelope() | {name: value})


@pytest.mark.parametrize("name", ENVELOPE)
def test_an_attribute_is_required_where_a_reader_misses_it(name):
    agree(envelope(**{name: None}))


@pytest.mark.parametrize("name", DATA)
def test_a_property_is_required_where_a_reader_misses_it(name):
    data = {each: value for each, value in envelope()["data"].items() if each != name}
    agree(envelope(data=data))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_valid_where_a_reader_believes_it(claim):
    agree(envelope(imagegateclaim=claim, imagegateversion=2))
    agree(envelope(type="image.deleted", data=None, imagegateclaim=claim), "image.deleted")


@pytest.mark.parametrize("owner", ["key:1", "", "a" * 1_000, "a" * 1_001, "a\u202e", "a\n", 7])
@pytest.mark.parametrize("visibility", ["public", "authenticated", "all", 1])
def test_what_is_said_of_a_deleted_image_is_valid_where_a_reader_believes_it(owner, visibility):
    event = envelope(type="image.deleted", data=None, imagegatevisibility=visibility)
    # It is written where it says something.
    agree(event | ({"imagegateowner": owner} if owner else {}), "image.deleted")


@pytest.mark.parametrize("former_ids", FORMER_IDS)
@pytest.mark.parametrize("kind", ["image.moved", "image.deleted"])
def test_former_ids_are_valid_where_a_reader_believes_them(kind, former_ids):
    event = moved(8, 1) if kind == "image.moved" else deleted(8)
    said = json.loads(events.encode(event).value) | {"imagegateversion": 3}
    agree(said | {"imagegateformerids": former_ids}, kind)


@pytest.mark.parametrize(
    "created_at",
    [
        *("2020-09-13T12:26:40.123Z", "2020-09-13T12:26:40Z", "2020-09-13T12:26:40.123+00:00"),
        *("2020-09-13T12:26:40.123456Z", "2020-09-13T12:26:40.123Z\n", "", 1_600_000_000),
    ],
)
def test_the_time_of_a_moved_image_is_valid_where_a_reader_believes_it(created_at):
    said = json.loads(events.encode(moved(8, 1)).value)
    agree(said | {"imagegatecreatedat": created_at}, "image.moved")


@pytest.mark.parametrize("name", ["imagegateformerids", "imagegatecreatedat", "data"])
def test_an_attribute_of_a_moved_image_is_required_where_a_reader_misses_it(name):
    said = json.loads(events.encode(moved(8, 1)).value)
    del said[name]
    agree(said, "image.moved")


@pytest.mark.parametrize("ends", [[], [0], [2**48 - 1], [2**48], [-1], [True], ["1"], 7, None])
def test_the_beginning_of_signing_is_valid_where_a_reader_believes_it(ends):
    kind = "image.signing-began"
    event = envelope(type=kind, subject="a" * 32, data={"images": ends})
    agree(event, kind)
    agree(event | {"data": {}}, kind)


@pytest.mark.parametrize(
    "address",
    ["aaap" + "7" * 28, "aaaq" + "b" * 28, "aaa", "aab" + "a" * 29, "A" * 32, "", None, 7],
)
def test_the_address_of_a_key_is_valid_where_a_reader_believes_it(address):
    kind, other = "image.rewrapped", "aaac" + "c" * 28
    for data in ({"from": address, "to": other}, {"from": other, "to": address}, {"to": other}):
        agree(envelope(type=kind, imagegateversion=6, data=data), kind)
    good = {"from": other, "to": "aaad" + "d" * 28}
    assert is_believed(envelope(type=kind, imagegateversion=6, data=good))
    for version in (5, 8):
        agree(envelope(type=kind, imagegateversion=version, data=good), kind)


@pytest.mark.parametrize(
    ("listed", "is_one"),
    [
        ("16384,0:0", True),
        ("16384,65535:281474976710655,1:2", True),
        ("", False),
        ("16384", False),
        ("16384,", False),
        ("016384,0:0", False),
        ("16384,0:0,", False),
        ("16384,-1:0", False),
        ("16384,00:0", False),
        ("16384,0:0\n", False),
        (16384, False),
    ],
)
def test_a_list_of_chunks_has_the_form_that_readers_know(listed, is_one):
    assert Validator(schema("image.stored")).is_valid(envelope(imagegatechunks=listed)) == is_one


@pytest.mark.parametrize("member", ["imagegateidempotency", "imagegatefingerprint"])
@pytest.mark.parametrize("value", [TOKEN, TOKEN.upper(), TOKEN[1:], f"{TOKEN}\n", 7, None])
def test_a_token_is_valid_where_a_reader_believes_it(member, value):
    both = {"imagegateidempotency": TOKEN, "imagegatefingerprint": TOKEN} | {member: value}
    event = envelope(imagegateversion=7, **both)
    # Only a reader misses the other one.
    if value is not None:
        agree(event)
    assert is_believed(event) == (value == TOKEN)
