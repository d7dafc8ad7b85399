"""Record batches of other programs: compressed, with odd header names, damaged."""

import struct

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from app.log import Position
from app.log.kafka.batches import DamagedBatchError, decode

GZIP = 1
CRC_AT, CRC_FROM = 17, 21


def batch(*records, base_offset=0, compression=0):
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, 0, 1_000_000)
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset, 1000 + offset, key, value, headers)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base_offset)
    return bytes(data)


def with_crc(data):
    return data[:CRC_AT] + struct.pack(">I", calc_crc32c(data[CRC_FROM:])) + data[CRC_FROM:]


@pytest.mark.parametrize("compression", [0, GZIP])
def test_records_come_out_as_they_were_written(compression):
    records = [(b"k", b"v" * 500, [("a", b"1"), ("b", None)]), (None, None, [])]
    data = batch(*records, base_offset=7, compression=compression)
    decoded, next_offset = decode(data + batch((b"x", b"", []), base_offset=9), 3, 7)
    assert next_offset == 10
    assert [(r.position, r.key, r.value, r.headers) for r in decoded] == [
        (Position(3, 7), b"k", b"v" * 500, (("a", b"1"), ("b", None))),
        (Position(3, 8), None, None, ()),
        (Position(3, 9), b"x", b"", ()),
    ]
    assert [r.timestamp_ms for r in decoded[:2]] == [1000, 1001]


def test_a_header_name_that_is_no_utf_8_costs_neither_its_record_nor_the_neighbours():
    data = batch(
        (b"good", b"1", [("h", b"v")]),
        (b"odd", None, [("NAME", b"v"), ("ok", None)]),
        (b"last", b"3", []),
        base_offset=5,
    )
    decoded, next_offset = decode(with_crc(data.replace(b"NAME", b"\xff\xfeME")), 0, 5)
    assert next_offset == 8
    assert [(r.position.offset, r.key, r.value, r.timestamp_ms) for r in decoded] == [
        (5, b"good", b"1", 1000),
        (6, b"odd", None, 1001),
        (7, b"last", b"3", 1002),
    ]
    assert decoded[1].headers == (("\ufffd\ufffdME", b"v"), ("ok", None))


def test_a_flipped_bit_anywhere_after_the_checksum_is_noticed():
    data = batch((b"k", b"value", []))
    for at in range(CRC_FROM, len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(DamagedBatchError):
            decode(damaged, 0, 0)


def test_a_batch_that_is_cut_off_is_left_out():
    whole = batch((b"k", b"v", []))
    decoded, next_offset = decode(whole + batch((b"k", b"v", []), base_offset=1)[:-1], 0, 0)
    assert ([r.position.offset for r in decoded], next_offset) == ([0], 1)


def test_an_answer_without_batches_keeps_the_offset():
    assert decode(b"", 0, 42) == ([], 42)


def test_the_batches_made_here_are_those_that_aiokafka_reads():
    assert DefaultRecordBatch(batch((b"k", b"v", []))).validate_crc()


def test_whatever_bit_is_flipped_it_is_damage_or_changes_nothing_that_is_read():
    whole = batch((b"key", b"value", [("h", b"v")]), base_offset=5)
    expected, _ = decode(whole, 0, 5)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            records, _ = decode(bytes(flipped), 0, 5)
        except DamagedBatchError:
            continue
        # Offset, length and leader epoch come before what the CRC covers.
        assert bit // 8 < CRC_AT
        assert [each.value for each in records] in ([each.value for each in expected], [])


def test_what_comes_before_a_damaged_batch_is_read_and_then_it_is_damage():
    good, bad = batch((b"k", b"1", [])), bytearray(batch((b"k", b"2", []), base_offset=1))
    bad[-1] ^= 1
    records, next_offset = decode(good + bytes(bad), 0, 0)
    assert ([record.value for record in records], next_offset) == ([b"1"], 1)
    with pytest.raises(DamagedBatchError):
        decode(bytes(bad), 0, 1)
