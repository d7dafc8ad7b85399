"""What is bound to what is encrypted: a seal opens nothing that was changed, or moved."""

from dataclasses import replace

import pytest

from app.events.event import ImageStored, decode, encode
from app.log import EVENTS, IMAGES
from app.records import image as records
from app.records.seal import Seal, sealing_of
from app.records.stated_key import ImageKey
from app.records.value import Part, ValueEncoding
from app.sealing.envelope import TAG_BYTES, BrokenSealError
from app.sealing.wrapped_key import WrappedKey
from tests.support.facts import as_stored, image_id, info
from tests.support.sealing import NAME

KEY = ImageKey(b"d" * 32, WrappedKey("k1", "A" * 56))
RECORD_KEY = bytes(range(12)).hex().encode()
HEADERS = (("content-type", b"image/png"), ("imagegate-version", b"4"))
PART = b"a part of a picture"


def seal(key=KEY.plain, record_key=RECORD_KEY, headers=HEADERS, count=3, size=100):
    return Seal(key, record_key, headers, count, size)


def opened(other, number=1, sealed=None):
    value = bytes(sealed or seal().sealed(1, memoryview(PART)))
    return other.opened(number, Part(value, len(value), ValueEncoding.RAW)).value


def test_a_part_opens_as_what_it_was():
    assert opened(seal()) == PART
    assert len(seal().sealed(1, memoryview(PART))) == len(PART) + TAG_BYTES


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"key": b"e" * 32}, 1),
        ({"record_key": bytes(12).hex().encode()}, 1),
        ({"record_key": None}, 1),
        ({"headers": HEADERS[::-1]}, 1),
        ({"headers": HEADERS[1:]}, 1),
        ({"headers": (*HEADERS, ("a", b"b"))}, 1),
        ({"headers": (*HEADERS, HEADERS[0])}, 1),
        ({"headers": (("content-type", b"image/webp"), HEADERS[1])}, 1),
        ({"headers": (("content-type", None), HEADERS[1])}, 1),
        ({"headers": (("content-typeimage", b"/png"), HEADERS[1])}, 1),
        ({"count": 4}, 1),
        ({"count": 1}, 1),
        ({"size": 101}, 1),
        ({}, 0),
        ({}, 2),
    ],
)
def test_no_part_opens_as_another(changed, number):
    with pytest.raises(BrokenSealError):
        opened(seal(**changed), number)


def test_the_number_is_bound_beside_the_nonce():
    one = seal()
    assert len({one.bound(number) for number in range(3)}) == 3


def test_no_byte_of_a_part_can_be_flipped():
    sealed = bytes(seal().sealed(1, memoryview(PART)))
    for at in range(len(sealed)):
        with pytest.raises(BrokenSealError):
            opened(seal(), 1, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])


@pytest.mark.parametrize(
    "header", ["imagegate-chunks", "imagegate-signature", "content-transfer-encoding"]
)
def test_what_is_known_only_later_is_not_bound(header):
    assert opened(seal(headers=(*HEADERS, (header, b"x")))) == PART


def head():
    cookie, data = bytes(range(12)), memoryview(b"picture")
    about = info(content_length=7, filename=NAME)
    sealed = records.sealed_head(cookie, about, 100, None, KEY)
    record = records.head_record(cookie, data, about, 100, (), None, ValueEncoding.RAW, sealed)
    return as_stored(record)


def event():
    return as_stored(encode(ImageStored(image_id(1), info(filename=NAME), key=KEY)))


@pytest.mark.parametrize(("topic", "record"), [(IMAGES, head()), (EVENTS, event())])
def test_the_fields_of_a_record_open_in_that_record_alone(topic, record):
    assert sealing_of(topic, record).open_fields(KEY.plain).filename == NAME
    assert NAME.encode() not in record.value + b"".join(value for _, value in record.headers)
    name, value = record.headers[0]
    others = [
        replace(record, key=b"another"),
        replace(record, headers=((name, value + b" "), *record.headers[1:])),
        replace(record, headers=record.headers[1:]),
        replace(record, headers=(*record.headers, ("another", b"header"))),
    ]
    if topic == EVENTS:
        others.append(replace(record, value=record.value.replace(b'"width": 640', b'"width": 641')))
    for other in others:
        with pytest.raises(BrokenSealError):
            sealing_of(topic, other).open_fields(KEY.plain)
    with pytest.raises(BrokenSealError):
        sealing_of(topic, record).open_fields(b"e" * 32)


def test_the_fields_of_a_head_do_not_open_in_an_event():
    fields = head().header("imagegate-sealed")
    swapped = tuple((n, fields if n == "imagegate-sealed" else v) for n, v in event().headers)
    with pytest.raises(BrokenSealError):
        sealing_of(EVENTS, replace(event(), headers=swapped)).open_fields(KEY.plain)


@pytest.mark.parametrize(
    "changed",
    [
        {"imagegate-encryption": b"A128GCM"},
        {"imagegate-encryption": None},
        {"imagegate-wrapped-key": None},
        {"imagegate-wrapped-key": b"k1"},
        {"imagegate-wrapped-key": "kä:AAAA".encode()},
        {"imagegate-sealed": b"no base64!"},
        {"imagegate-version": b"3"},
    ],
)
def test_a_head_whose_statement_is_malformed_is_unfit(changed):
    record = head()
    headers = tuple((name, changed.get(name, value)) for name, value in record.headers)
    headers = tuple((name, value) for name, value in headers if value is not None)
    with pytest.raises(records.UnfitRecordError):
        records.parse_head(replace(record, headers=headers))


def test_an_event_carries_the_version_that_older_readers_stop_at():
    record = event()
    read = decode(record)
    assert (read.info.filename, read.sealing.key) == (None, KEY.stated)
    assert b'"imagegateversion": 4' in record.value
    assert records.parse_head(head()).sealing.key == KEY.stated


def test_an_encrypted_image_that_expires_has_the_higher_of_both_versions():
    ending = info(content_length=7, expires_at=4_000_000_000)
    sealed = records.sealed_head(bytes(12), ending, 100, None, KEY)
    assert dict(sealed.headers)["imagegate-version"] == b"5"
    assert b'"imagegateversion": 5' in encode(ImageStored(image_id(1), ending, key=KEY)).value
