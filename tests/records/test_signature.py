"""Signatures of records: every part of a record counts, and no two records share one."""

import base64
import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

from app.log import EVENTS, IMAGES, Record
from app.records.signature import HEADER, NO_SIGNATURES, Signatures, Verdict
from tests.support.facts import as_stored
from tests.support.signing import K1, K2, STRANGER

RECORD = Record(
    b"00112233445566778899aabb",
    b"picture",
    (("content-type", b"image/png"), ("content-length", b"7"), ("imagegate-version", b"1")),
)
KEYS = Signatures({"k1": K1})
SIGNED = as_stored(KEYS.sign(IMAGES, RECORD))
PAGE = (Path(__file__).parents[2] / "docs/kafka.md").read_text("utf-8")


def changed(**changes):
    return dataclasses.replace(SIGNED, **changes)


def flips(data):
    """The same bytes with each of them changed in turn."""
    for at in range(len(data)):
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def forgeries():
    """Every record that differs from the signed one in one byte or in one header."""
    for key in (None, *flips(SIGNED.key)):
        yield changed(key=key)
    for value in (None, b"", *flips(SIGNED.value)):
        yield changed(value=value)
    for at, (name, value) in enumerate(SIGNED.headers):
        before, after = SIGNED.headers[:at], SIGNED.headers[at + 1 :]
        others = [(name, each) for each in (None, b"", value + b"\0", *flips(value))]
        if name != HEADER:
            yield changed(headers=before + after)
            others += [(each.decode(), value) for each in flips(name.encode())]
        for other in others:
            yield changed(headers=(*before, other, *after))
        yield changed(headers=(*SIGNED.headers, (name, value)))
    first, second, *rest = SIGNED.headers
    yield changed(headers=(second, first, *rest))
    yield changed(headers=(*SIGNED.headers, ("more", b"")))


def test_what_was_signed_is_recognised_at_any_place_and_time():
    assert KEYS.verdict(IMAGES, SIGNED) is Verdict.SIGNED
    elsewhere = as_stored(KEYS.sign(IMAGES, RECORD), offset=9, partition=3, timestamp_ms=1)
    assert KEYS.verdict(IMAGES, elsewhere) is Verdict.SIGNED


def test_a_change_to_any_byte_or_header_is_noticed():
    forged = list(forgeries())
    assert len(forged) > 150
    assert {KEYS.verdict(IMAGES, each) for each in forged} == {Verdict.WRONG}


def test_a_record_of_another_topic_is_not_this_one():
    assert KEYS.verdict(EVENTS, SIGNED) is Verdict.WRONG


def test_a_record_without_a_signature_is_unsigned():
    assert KEYS.verdict(IMAGES, as_stored(RECORD)) is Verdict.UNSIGNED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Record(b"ab", b"", ()), Record(b"a", b"", (("b", b""),))),
        (Record(b"", b"", (("ab", b"c"),)), Record(b"", b"", (("a", b"bc"),))),
        (Record(b"", b"", (("a", b"b"), ("c", b"d"))), Record(b"", b"", (("a", b"bcd"),))),
        (Record(b"", b"", (("a", b""), ("b", b""))), Record(b"", b"", (("a", b"b"),))),
        (Record(b"", None, ()), Record(b"", b"", ())),
        (Record(b"", b"", ()), Record(b"", hashlib.sha256(b"").digest(), ())),
    ],
)
def test_records_whose_parts_run_together_alike_have_different_signatures(one, other):
    def mac(record):
        return KEYS.sign(IMAGES, record).headers[-1]

    assert mac(one) != mac(other)


class TestRotation:
    def test_the_first_key_signs_and_any_verifies(self):
        both = Signatures({"k2": K2, "k1": K1})
        assert both.verdict(IMAGES, SIGNED) is Verdict.SIGNED
        newer = as_stored(both.sign(IMAGES, RECORD))
        assert newer.header(HEADER).startswith(b"k2:")
        assert both.verdict(IMAGES, newer) is Verdict.SIGNED
        assert KEYS.verdict(IMAGES, newer) is Verdict.WRONG

    def test_a_key_that_was_taken_away_verifies_nothing(self):
        assert Signatures({"k2": K2}).verdict(IMAGES, SIGNED) is Verdict.WRONG

    def test_another_key_of_the_same_name_verifies_nothing(self):
        assert Signatures({"k1": STRANGER}).verdict(IMAGES, SIGNED) is Verdict.WRONG

    def test_fingerprints_tell_keys_apart_but_not_their_order(self):
        one, other = Signatures({"k2": K2, "k1": K1}), Signatures({"k1": K1, "k2": K2})
        assert one.fingerprint == other.fingerprint
        assert len({one.fingerprint, KEYS.fingerprint, NO_SIGNATURES.fingerprint}) == 3


@pytest.mark.parametrize(
    "signature", [b"", b"k1", b"k1:", b"k1:?", b":", b"\xff:AAAA", b"k9:" + b"A" * 43 + b"=", None]
)
def test_a_signature_of_another_form_is_wrong(signature):
    record = as_stored(Record(RECORD.key, RECORD.value, (*RECORD.headers, (HEADER, signature))))
    assert KEYS.verdict(IMAGES, record) is Verdict.WRONG


def test_without_keys_a_record_stays_as_it_is():
    assert NO_SIGNATURES.sign(IMAGES, RECORD) is RECORD
    assert not NO_SIGNATURES


def test_the_page_says_how_a_signature_is_made():
    [program] = re.findall(r"(?ms)^```python\n(import hashlib.*?)^```", PAGE)
    page = {}
    exec(program, page)  # noqa: S102 - our own page
    keys = {"k1": base64.b64encode(K1).decode()}
    assert page["is_signed"](IMAGES, SIGNED, keys)
    assert not any(page["is_signed"](IMAGES, each, keys) for each in forgeries())
    assert not page["is_signed"](EVENTS, SIGNED, keys)
