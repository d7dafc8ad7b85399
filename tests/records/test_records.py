"""An image as records: imagegate and any other reader can read it."""

import base64
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ImageNotFoundError, NewerVersionError
from app.log import Position
from app.records import image as records
from app.records.address import Address
from tests.support.facts import as_stored, info

COOKIE = bytes(range(12))
WHERE = Address(Position(3, 14), COOKIE)


def split(data, size, described=None):
    """The head and chunks of an image, the chunks at made-up places."""
    view = memoryview(data)
    chunks = records.chunk_records(COOKIE, view, size)
    places = [Position(number % 5, 100 + number) for number in range(len(chunks))]
    described = described or info(content_length=len(data))
    return records.head_record(COOKIE, view, described, size, places), chunks, places


@given(st.binary(min_size=1, max_size=500), st.integers(1, 600))
def test_head_and_chunks_together_are_the_image(data, size):
    head, chunks, places = split(data, size)
    parsed = records.parse_head(as_stored(head))
    assert b"".join(bytes(record.value) for record in (head, *chunks)) == data
    assert all(0 < len(record.value) <= size for record in (head, *chunks))
    assert parsed.chunks == tuple(places)
    if chunks:
        assert parsed.chunk_bytes == size


def test_what_is_known_of_an_image_survives_its_head():
    for described in (info(), info(filename=None, frame_count=12, kept=False, codec="jpeg q85")):
        head, _, _ = split(b"x" * 10, 100, described)
        assert records.parse_head(as_stored(head)).info == described


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


@pytest.mark.parametrize("limit", [1_048_576, 1_048_588, 100_000, 40_000])
def test_a_head_with_the_longest_metadata_fits_the_smallest_limit(limit):
    size = records.chunk_bytes(limit)
    # The longest file name, in JSON escapes, and as many chunks as 200 MB make at the usual limit.
    described = info(filename="\U0001f4f7" * 200, codec="x" * 100)
    places = [Position(65_535, 2**40)] * 200
    head = records.head_record(COOKIE, memoryview(bytes(size)), described, size, places)
    assert head.size_bytes <= limit


def test_a_chunk_is_never_more_than_a_million_bytes():
    assert records.chunk_bytes(20_000_000) == 1_000_000


def broken(**headers):
    head, _, _ = split(bytes(250), 100)
    kept = {**dict(head.headers), **{name.replace("_", "-"): v for name, v in headers.items()}}
    changed = tuple((name, value) for name, value in kept.items() if value != "missing")
    return dataclasses.replace(as_stored(head), headers=changed)


@pytest.mark.parametrize(
    "headers",
    [
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
        {"content_type": b"\xff\xfe"},
        {"content_digest": b"sha-256=:A:"},
        {"imagegate_chunks": b"100,1:2,3"},
        {"imagegate_chunks": b"100,a:b"},
    ],
)
def test_a_record_that_is_no_head_of_ours_is_no_image(headers):
    with pytest.raises(ImageNotFoundError):
        records.parse_head(broken(**headers))


def test_a_head_of_a_newer_version_is_refused_by_name():
    with pytest.raises(NewerVersionError):
        records.parse_head(broken(imagegate_version=b"2", imagegate_meta=b"?"))


def test_a_head_with_fields_of_a_later_release_is_read():
    head, _, _ = split(b"x", 100)
    meta = json.loads(dict(head.headers)["imagegate-meta"]) | {"blurhash": "LEHV6nWB"}
    record = broken(imagegate_meta=json.dumps(meta).encode(), later=b"header")
    assert records.parse_head(record).info.width == 640


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "imagegate-version",
                    "imagegate-meta",
                    "content-type",
                    "content-length",
                    "content-digest",
                    "imagegate-chunks",
                ]
            ),
            st.none() | st.binary(max_size=20) | st.sampled_from([b"1", b"{}", b"0", b"-1,-1:-1"]),
        )
    )
)
def test_no_record_breaks_the_reader(headers):
    record = dataclasses.replace(broken(), headers=tuple(headers))
    with pytest.raises((ImageNotFoundError, NewerVersionError)):
        records.parse_head(record)
