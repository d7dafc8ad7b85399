"""An image as records: imagegate and any other reader can read it."""

import base64
import dataclasses
import json
import random
import time
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import NewerVersionError
from app.events.event import MAX_BYTES, ImageStored, encode
from app.imaging.info import Visibility
from app.log import Position, Record
from app.records import chunk_list
from app.records import image as records
from app.records.address import Address
from app.records.claim import Claim
from app.records.value import ValueEncoding
from tests.support.bounds import within_bounds
from tests.support.facts import as_stored, info

COOKIE = bytes(range(12))
OWNER = "https://login.example#Zoë"
WHERE = Address(Position(3, 14), COOKIE)


def split(data, size, described=None):
    """The head and chunks of an image, the chunks at made-up places."""
    view = memoryview(data)
    chunks = records.chunk_records(COOKIE, view, size)
    places = [Position(number % 5, 100 + number) for number in range(len(chunks))]
    described = described or info(content_length=len(data))
    return records.head_record(COOKIE, view, described, size, places), chunks, places


@given(st.integers(1, 200_000), st.integers(chunk_list.MIN_CHUNK_BYTES, 250_000))
def test_head_and_chunks_together_are_the_image(length, size):
    data = random.Random(length).randbytes(length)
    head, chunks, places = split(data, size)
    parsed = records.parse_head(as_stored(head))
    assert b"".join(bytes(record.value) for record in (head, *chunks)) == data
    assert all(0 < len(record.value) <= size for record in (head, *chunks))
    assert parsed.chunks == tuple(places)
    if chunks:
        assert parsed.chunk_bytes == size


def test_what_is_known_of_an_image_survives_its_head():
    for described in (
        info(),
        info(filename=None, frame_count=12, kept=False, codec="jpeg q85"),
        *(info(owner=OWNER, visibility=each) for each in (None, *Visibility)),
    ):
        head, _, _ = split(bytes(described.stored_bytes), 100_000, described)
        assert records.parse_head(as_stored(head)).info == described


@pytest.mark.parametrize(
    ("visibility", "version"),
    [(None, b"1"), ("public", b"1"), ("authenticated", b"2"), ("owner", b"2")],
)
def test_an_image_that_is_not_public_is_of_a_version_that_older_readers_refuse(visibility, version):
    described = info(owner=OWNER, visibility=visibility and Visibility(visibility))
    head, chunks, _ = split(bytes(250_000), 100_000, described)
    headers = dict(head.headers)
    assert headers["imagegate-version"] == version
    assert headers["imagegate-owner"] == OWNER.encode()
    assert headers.get("imagegate-visibility") == (visibility and visibility.encode())
    assert {dict(chunk.headers)["imagegate-version"] for chunk in chunks} == {b"1"}


def test_an_image_without_owner_and_visibility_has_no_word_of_them():
    head, _, _ = split(b"picture", 100)
    assert not {"imagegate-owner", "imagegate-visibility"} & set(dict(head.headers))
    assert not {"owner", "visibility"} & set(json.loads(dict(head.headers)["imagegate-meta"]))


def test_a_reader_without_imagegate_gets_a_picture_from_the_head():
    head, _, _ = split(b"picture", 100)
    headers = dict(head.headers)
    assert head.key == COOKIE.hex().encode()
    assert bytes(head.value) == b"picture"
    assert headers["content-type"] == b"image/png"
    assert headers["content-length"] == b"7"
    digest = headers["content-digest"].decode()
    assert base64.b64decode(digest[len("sha-256=:") : -1]) == bytes.fromhex("ab" * 32)
    assert headers["imagegate-version"] == b"1"
    assert "imagegate-chunks" not in headers


def test_a_chunk_is_known_by_its_key_and_number():
    _, chunks, _ = split(bytes(250), 100)
    assert [chunk.key for chunk in chunks] == [
        b"%s/1" % COOKIE.hex().encode(),
        b"%s/2" % COOKIE.hex().encode(),
    ]
    assert [dict(chunk.headers)["imagegate-chunk"] for chunk in chunks] == [b"1", b"2"]
    assert records.is_chunk(as_stored(chunks[0]), WHERE, 1)
    assert not records.is_chunk(as_stored(chunks[0]), WHERE, 2)
    other = dataclasses.replace(WHERE, cookie=bytes(12))
    assert not records.is_chunk(as_stored(chunks[0]), other, 1)


def test_metadata_holds_nothing_twice():
    head, _, _ = split(b"x", 100)
    meta = json.loads(dict(head.headers)["imagegate-meta"])
    assert not {"content_type", "content_length", "digest"} & set(meta)


@pytest.mark.parametrize("limit", [1_048_576, 1_048_588, 131_072, 50_000])
def test_a_head_with_the_longest_metadata_fits_the_smallest_limit(limit):
    size = records.chunk_bytes(limit)
    # The longest file name, in JSON escapes, and as many chunks as 200 MB make at the usual limit.
    described = info(
        filename="\U0001f4f7" * 200,
        codec="x" * 100,
        owner="\U0001f4f7" * 1_000,
        visibility=Visibility.AUTHENTICATED,
    )
    places = [Position(65_535, 2**40)] * 200
    head = records.head_record(COOKIE, memoryview(bytes(size)), described, size, places)
    assert head.size_bytes <= limit


@pytest.mark.parametrize("limit", [0, 1_000, 40_000, 131_072, 20_000_000])
def test_what_is_written_under_any_limit_is_read(limit):
    data = bytes(300_000)
    head, chunks, _ = split(data, records.chunk_bytes(limit))
    assert len(records.parse_head(as_stored(head)).chunks) == len(chunks)


def test_a_chunk_is_never_more_than_a_million_bytes():
    assert records.chunk_bytes(20_000_000) == 1_000_000


def broken(**headers):
    head, _, _ = split(bytes(250_000), 100_000)
    kept = {**dict(head.headers), **{name.replace("_", "-"): v for name, v in headers.items()}}
    changed = tuple((name, value) for name, value in kept.items() if value != "missing")
    return dataclasses.replace(as_stored(head), headers=changed)


@pytest.mark.parametrize(
    "headers",
    [
        {"imagegate_owner": b"\xff"},
        {"imagegate_owner": b"key:\n"},
        {"imagegate_owner": b"k" * 1_001},
        {"imagegate_visibility": b"everyone"},
        {"imagegate_visibility": b"Public"},
        {"imagegate_version": "missing"},
        {"imagegate_version": None},
        {"imagegate_version": b"one"},
        {"imagegate_meta": "missing"},
        {"imagegate_meta": b"{"},
        {"imagegate_meta": b"[]"},
        {"imagegate_meta": b"\xff"},
        {"imagegate_meta": b"{}"},
        {"content_length": b"many"},
        {"content_length": None},
        {"content_length": b"249999"},
        {"content_length": b"+250000"},
        {"content_length": b"250_000"},
        {"content_length": b" 250000"},
        {"content_length": b"0250000"},
        {"content_length": b"9" * 5_000},
        {"content_length": "٢٥٠".encode()},
        {"imagegate_version": b"0x1"},
        {"imagegate_version": b"9" * 5_000},
        {"imagegate_claim": b"AAAAAAAAAAAAAAAA,1,9"},
        {"imagegate_claim": b"A", "imagegate_version": b"2"},
        {"imagegate_claim": b"", "imagegate_version": b"2"},
        {"imagegate_claim": b"AAAAAAAAAAAAAAAA,1,\xff", "imagegate_version": b"2"},
        {"imagegate_claim": b"AAAAAAAAAAAAAAAA,-1,9", "imagegate_version": b"2"},
        {"imagegate_stored_length": b"249999"},
        {"imagegate_stored_length": b"many"},
        {"content_encoding": b"lepton"},
        {"content_type": b"image/svg+xml"},
        {"content_type": b"image/png\r\nSet-Cookie: a"},
        {"content_type": b"image/PNG"},
        {"imagegate_meta": b'{"width": 1, "width": 2}'},
        {"imagegate_meta": b'{"width": NaN}'},
        {"imagegate_meta": b'{"width": 1, "later": "' + b"x" * 9_000 + b'"}'},
        {"imagegate_meta": b"[" * 8_000},
        {"content_type": b"\xff\xfe"},
        {"content_digest": b"sha-256=:A:"},
        {"content_digest": b"A" * 43 + b"="},
        {"imagegate_chunks": "missing"},
        {"imagegate_chunks": b""},
        {"imagegate_chunks": b"100000,1:2,3"},
        {"imagegate_chunks": b"100000,a:b,0:1"},
        {"imagegate_chunks": b"100000,0:1"},
        {"imagegate_chunks": b"100000,0:1,0:2,0:3"},
        {"imagegate_chunks": b"100000,0:1,0:1"},
        {"imagegate_chunks": b"100000,0:1,65536:2"},
        {"imagegate_chunks": b"100000,0:1,0:281474976710656"},
        {"imagegate_chunks": b"100000,0:1,+0:2"},
        {"imagegate_chunks": b"90000,0:1,0:2"},
        {"imagegate_chunks": b"1,0:1,0:2"},
        {"imagegate_chunks": b"100000" + b"".join(b",%d:0" % number for number in range(50_000))},
    ],
)
def test_a_record_that_is_no_head_of_ours_is_no_image(headers):
    with pytest.raises(records.UnfitRecordError, match=r"\w"):
        records.parse_head(broken(**headers))


@pytest.mark.parametrize("value", [None, b"", bytes(99_999), bytes(100_001)])
def test_a_head_whose_value_has_not_the_length_of_its_chunk_is_no_image(value):
    assert records.parse_head(broken()).chunk_bytes == 100_000
    with pytest.raises(records.UnfitRecordError, match="length"):
        records.parse_head(dataclasses.replace(broken(), value=value))


def test_a_packed_image_is_a_jpeg_and_says_its_stored_length():
    packed = info(content_encoding="lepton", content_type="image/jpeg", stored_bytes=9)
    head, _, _ = split(bytes(9), 100_000, packed)
    assert records.parse_head(as_stored(head)).info == packed
    mute = tuple(each for each in head.headers if each[0] != "imagegate-stored-length")
    with pytest.raises(records.UnfitRecordError, match="stored lengths"):
        records.parse_head(as_stored(dataclasses.replace(head, headers=mute)))
    png, _, _ = split(bytes(9), 100_000, dataclasses.replace(packed, content_type="image/png"))
    with pytest.raises(records.UnfitRecordError, match="no JPEG"):
        records.parse_head(as_stored(png))


def test_a_chunk_has_the_length_that_its_head_says():
    head = records.parse_head(broken())
    for number, length in ((1, 100_000), (2, 50_000)):
        for wrong in (0, 1, -1):
            key = f"{COOKIE.hex()}/{number}".encode()
            chunk = as_stored(Record(key, bytes(length + wrong)))
            with pytest.raises(records.UnfitRecordError) if wrong else nullcontext():
                records.chunk_part(chunk, WHERE, head, number)


def in_base64(data, size, described=None):
    """The head and chunks of an image whose values are Base64, as they are read."""
    view = memoryview(data)
    chunks = list(records.encoded_chunks(COOKIE, view, size, ValueEncoding.BASE64))
    places = [Position(number % 5, 100 + number) for number in range(len(chunks))]
    described = described or info(content_length=len(data))
    head = records.head_record(COOKIE, view, described, size, places, encoding=ValueEncoding.BASE64)
    return [as_stored(each) for each in (head, *chunks)]


@given(st.integers(1, 200_000), st.integers(chunk_list.MIN_CHUNK_BYTES, 250_000), st.data())
def test_in_base64_any_range_of_a_part_is_that_of_the_image(length, size, drawn):
    data = random.Random(length).randbytes(length)
    stored = in_base64(data, size)
    assert b"".join(base64.b64decode(each.value, validate=True) for each in stored) == data
    head = records.parse_head(stored[0])
    parts = [records.head_part(stored[0], head)]
    parts += [
        records.chunk_part(each, WHERE, head, number)
        for number, each in enumerate(stored[1:], start=1)
    ]
    assert b"".join(part.read(0, part.length) for part in parts) == data
    number = drawn.draw(st.integers(0, len(parts) - 1))
    start = drawn.draw(st.integers(0, parts[number].length))
    end = drawn.draw(st.integers(start, parts[number].length))
    at = number * size
    assert parts[number].read(start, end) == data[at + start : at + end]


def test_base64_is_named_by_each_record_and_of_a_version_that_older_readers_refuse():
    for record in in_base64(bytes(250_000), 100_000):
        assert record.header("content-transfer-encoding") == b"base64"
        assert record.header("imagegate-version") == b"3"
    raw, chunks, _ = split(bytes(250_000), 100_000)
    for record in (raw, *chunks):
        assert "content-transfer-encoding" not in dict(record.headers)
    claimed = records.head_record(
        COOKIE, memoryview(b"x"), info(content_length=1), 9, (), None, ValueEncoding.BASE64
    )
    assert records.parse_head(as_stored(claimed)).encoding is ValueEncoding.BASE64


@pytest.mark.parametrize("limit", [131_072, 262_144, 1_048_576, 10_000_000])
@pytest.mark.parametrize("length", [1_000_000, 200_000_000])
def test_the_limit_of_a_topic_counts_the_letters(limit, length):
    size = records.chunk_bytes(limit, ValueEncoding.BASE64)
    assert size % 3 == 0
    assert ValueEncoding.BASE64.value_bytes(size) <= 1_000_000
    count = -(-length // size) - 1
    places = [Position(11, 10_000_000 + number) for number in range(count)]
    described = info(content_length=length, filename="x" * 200, owner=OWNER)
    head = records.head_record(
        COOKIE, memoryview(bytes(size)), described, size, places, encoding=ValueEncoding.BASE64
    )
    assert head.size_bytes <= limit
    assert len(encode(ImageStored("a" * 32, described, size, tuple(places))).value) <= MAX_BYTES


def with_headers(record, **headers):
    """A record with these headers in place of its own; without those that are None."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    merged = dict(record.headers) | named
    kept = tuple((name, value) for name, value in merged.items() if value is not None)
    return dataclasses.replace(record, headers=kept)


class TestBase64ThatIsNone:
    """What is decoded is what a gateway has written, and nothing near it."""

    @pytest.mark.parametrize("length", [7, 8, 9])
    @pytest.mark.parametrize(
        "change",
        [
            lambda value: value[:-1],
            lambda value: value + b"=",
            lambda value: value + b"\n",
            lambda value: b" " + value[1:],
            lambda value: b"-" + value[1:],
            lambda value: b"=" + value[1:],
            lambda value: value.rstrip(b"=")[:-1] + b"==",
            lambda value: b"=" * len(value),
            lambda value: b"\xff" + value[1:],
        ],
    )
    def test_a_head_is_no_image(self, length, change):
        [stored] = in_base64(b"\xfb" * length, 100_000)
        value = change(stored.value)
        if value == stored.value:
            value = value[:-2]
        with pytest.raises(records.UnfitRecordError, match="value"):
            records.parse_head(dataclasses.replace(stored, value=value))

    def test_a_chunk_is_none(self):
        stored, chunk, _ = in_base64(bytes(250_000), 100_000)
        head = records.parse_head(stored)
        assert records.chunk_part(chunk, WHERE, head, 1).length == 100_000
        bad = dataclasses.replace(chunk, value=b"!" + chunk.value[1:])
        with pytest.raises(records.UnfitRecordError, match="no Base64"):
            records.chunk_part(bad, WHERE, head, 1)

    def test_a_chunk_is_encoded_as_its_head_is(self):
        stored, chunk, _ = in_base64(bytes(250_000), 100_000)
        raw, raw_chunks, _ = split(bytes(250_000), 100_000)
        for head, other in ((stored, as_stored(raw_chunks[0])), (as_stored(raw), chunk)):
            with pytest.raises(records.UnfitRecordError, match="not its chunk 1"):
                records.chunk_part(other, WHERE, records.parse_head(head), 1)

    @pytest.mark.parametrize(
        "headers",
        [
            {"content_transfer_encoding": b"Base64"},
            {"content_transfer_encoding": b"binary"},
            {"content_transfer_encoding": None},
            {"imagegate_version": b"2"},
            {"imagegate_version": b"1"},
        ],
    )
    def test_headers_that_no_gateway_writes_are_no_image(self, headers):
        [stored] = in_base64(b"picture", 100_000)
        with pytest.raises(records.UnfitRecordError, match=r"\w"):
            records.parse_head(with_headers(stored, **headers))


def test_a_head_of_a_newer_version_is_refused_by_name():
    newer = b"%d" % (records.VERSION + 1)
    with pytest.raises(NewerVersionError):
        records.parse_head(broken(imagegate_version=newer, imagegate_meta=b"?"))


def test_a_head_with_fields_of_a_later_release_is_read():
    head, _, _ = split(bytes(250_000), 100_000)
    meta = json.loads(dict(head.headers)["imagegate-meta"]) | {"blurhash": "LEHV6nWB"}
    record = broken(imagegate_meta=json.dumps(meta).encode(), later=b"header")
    assert records.parse_head(record).info.width == 640


def test_a_head_with_a_claim_is_of_a_version_that_older_readers_refuse():
    claim = Claim("A" * 16, 3, 2_000_000_000)
    head = records.head_record(COOKIE, memoryview(b"x"), info(content_length=1), 100, (), claim)
    assert dict(head.headers)["imagegate-version"] == b"2"
    assert records.parse_head(as_stored(head)).claim == claim
    plain, _, _ = split(b"x", 100)
    assert records.parse_head(as_stored(plain)).claim is None


HEADERS = [
    "imagegate-version",
    "imagegate-meta",
    "content-type",
    "content-length",
    "content-digest",
    "content-encoding",
    "content-transfer-encoding",
    "imagegate-stored-length",
    "imagegate-chunks",
    "imagegate-claim",
]
# Time is measured below, without that of other processes.
patient = settings(deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
META = json.loads(broken().header("imagegate-meta"))


def parsed_or_refused(record):
    """Parse a head, which takes no longer than a few milliseconds, whatever it is."""
    started = time.thread_time()
    try:
        return records.parse_head(record)
    except (records.UnfitRecordError, NewerVersionError):
        return None
    finally:
        # The slowest takes 8 ms, on a busy machine 300; what it forbids hung the gateway.
        assert time.thread_time() - started < 2


@patient
@given(
    st.lists(
        st.tuples(
            st.sampled_from(HEADERS),
            st.none() | st.binary(max_size=20) | st.sampled_from([b"1", b"{}", b"0", b"-1,-1:-1"]),
        )
    )
)
def test_no_record_breaks_the_reader(headers):
    assert parsed_or_refused(dataclasses.replace(broken(), headers=tuple(headers))) is None


@patient
@given(
    st.dictionaries(st.sampled_from(HEADERS), st.none() | st.binary(max_size=20), max_size=2),
    st.dictionaries(st.sampled_from(sorted(META)), JSON, max_size=2),
)
def test_no_header_and_no_property_lead_beyond_the_bounds(headers, properties):
    meta = json.dumps(META | properties).encode()
    if head := parsed_or_refused(broken(**{"imagegate-meta": meta} | headers)):
        within_bounds(head.info)
        assert len(head.chunks) == -(-head.info.stored_bytes // head.chunk_bytes) - 1


@pytest.mark.parametrize(
    "headers",
    [
        {"imagegate-chunks": b"16384" + b"".join(b",%d:1" % each for each in range(4_095))},
        {"imagegate-chunks": b"16384" + b",0:1" * 250_000},
        {"imagegate-chunks": b"9" * 1_000_000},
        {"imagegate-meta": json.dumps({str(each): 0 for each in range(800)}).encode()},
        {"imagegate-meta": b'{"a":' + b"1" * 4_000 + b"}"},
        {"imagegate-meta": b'{"a":' * 1_600},
        {"imagegate-meta": b"\xff" * 1_000_000},
        {"content-digest": b"sha-256=:" + b"A" * 1_000_000},
        {"content-type": b"image/" * 200_000},
        {"content-length": b"1" * 1_000_000},
    ],
)
def test_the_worst_that_fits_a_record_is_read_quickly(headers):
    length = 4_096 * 16_384
    meta = json.dumps(META | {"stored_bytes": length}).encode()
    sizes = {"content-length": b"%d" % length, "imagegate-meta": meta}
    record = dataclasses.replace(broken(**sizes | headers), value=bytes(16_384))
    head = parsed_or_refused(record)
    assert head is None or len(head.chunks) == 4_095
