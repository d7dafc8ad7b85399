"""Decoding of record batches, as an answer to a fetch contains them.

Hides that aiokafka's parser refuses a whole batch when another program's record has a header name
that is not UTF-8, which Kafka accepts: such a batch is read again here, with the bytes replaced.

Source: https://kafka.apache.org/documentation/#messageformat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint
from crc32c import crc32c

from app.log import Position, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

# Base offset and length precede the bytes that the length counts.
_PREFIX_BYTES = 12
_LENGTH = slice(8, 12)
# Version 2, since Kafka 0.11, has its CRC here; it covers everything after itself.
_MAGIC_AT, _MAGIC = 16, 2
_CRC, _CRC_COVERS = slice(17, 21), slice(21, None)


class DamagedBatchError(Exception):
    """The bytes are not the ones that were written: fetch them again."""


def decode(data: bytes, partition: int, offset: int) -> tuple[list[StoredRecord], int]:
    """Return the records, and the offset after the last whole batch, never before `offset`.

    A batch that the answer cuts off is left out, and so are the batches after a damaged one.

    Raises:
        DamagedBatchError: The batch at `offset` is cut off, or its checksum (CRC-32C) or structure
            is wrong.
    """
    records: list[StoredRecord] = []
    next_offset = offset
    try:
        for raw, batch in _batches(data):
            _check_crc(raw, batch)
            batch_records = () if batch.is_control_batch else _records(raw, batch, partition)
            records += batch_records
            next_offset = max(next_offset, batch.next_offset)
    except (CorruptRecordException, UnsupportedCodecError) as error:
        if next_offset == offset:
            raise DamagedBatchError(repr(error)) from error
    # The first batch of an answer is whole, however large (KIP-74).
    if data and next_offset == offset:
        raise DamagedBatchError(f"no whole batch in {len(data)} bytes")
    return records, next_offset


def _check_crc(raw: memoryview, batch: Any) -> None:
    if crc32c(raw[_CRC_COVERS]) != int.from_bytes(raw[_CRC], "big"):
        raise CorruptRecordException(f"CRC mismatch at offset {batch.base_offset}")


def _batches(data: bytes) -> Iterator[tuple[memoryview, Any]]:
    view, memory = memoryview(data), MemoryRecords(data)
    while memory.has_next():
        if len(view) > _MAGIC_AT and view[_MAGIC_AT] != _MAGIC:
            # aiokafka would read it as the format before 0.11, which Kafka 4 does not have.
            raise CorruptRecordException(f"version {view[_MAGIC_AT]}")
        size = _PREFIX_BYTES + int.from_bytes(view[_LENGTH], "big")
        yield view[:size], memory.next_batch()
        view = view[size:]


def _records(raw: memoryview, batch: Any, partition: int) -> list[StoredRecord]:
    try:
        return [
            StoredRecord(
                Position(partition, record.offset),
                record.key,
                record.value,
                tuple(record.headers),
                record.timestamp,
            )
            for record in batch
        ]
    except UnicodeDecodeError:
        return list(_tolerant(raw, partition))


def _tolerant(raw: memoryview, partition: int) -> Iterator[StoredRecord]:
    batch = _DefaultRecordBatchPy(raw)
    batch._maybe_uncompress()
    reader = _Reader(batch._buffer, batch._pos)
    for _ in range(batch._num_records):
        # The record's length, and its attributes, which are unused.
        reader.varint()
        reader.varint()
        late_ms, offset = reader.varint(), batch.base_offset + reader.varint()
        yield StoredRecord(
            Position(partition, offset),
            reader.bytes(),
            reader.bytes(),
            tuple(
                ((reader.bytes() or b"").decode("utf-8", "replace"), reader.bytes())
                for _ in range(reader.varint())
            ),
            batch.max_timestamp if batch.timestamp_type else batch.first_timestamp + late_ms,
        )


class _Reader:
    def __init__(self, buffer: bytearray, position: int) -> None:
        self._buffer = buffer
        self._position = position

    def varint(self) -> int:
        value, self._position = decode_varint(self._buffer, self._position)
        return int(value)

    def bytes(self) -> bytes | None:
        length = self.varint()
        if length < 0:
            return None
        start, self._position = self._position, self._position + length
        return bytes(self._buffer[start : self._position])
