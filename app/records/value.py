"""The value of a record in `images`: a part of an image, as it is or in Base64.

Hides the encoding, which the header `content-transfer-encoding` names: RFC 4648, section 4, with
padding and without line breaks. A value in it is checked as a whole, which takes 0.6 ms a megabyte,
and decoded in pieces as they are read: a megabyte at once takes 3 ms, in which nothing else runs.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.log import StoredRecord

HEADER = "content-transfer-encoding"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# Three bytes are four letters.
_BYTES, _LETTERS = 3, 4


class ValueEncoding(StrEnum):
    """The form of a value."""

    RAW = "raw"
    BASE64 = "base64"

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The headers of a record whose value has this form."""
        return () if self is ValueEncoding.RAW else ((HEADER, self.value.encode()),)

    def value_of(self, part: memoryview) -> bytes | memoryview:
        """Return the value of a record that holds this part of an image."""
        if self is ValueEncoding.RAW:
            return part
        return binascii.b2a_base64(part, newline=False)

    def value_bytes(self, part_bytes: int) -> int:
        """Return the length of the value that holds so many bytes of an image."""
        if self is ValueEncoding.RAW:
            return part_bytes
        return -(-part_bytes // _BYTES) * _LETTERS

    def part_bytes(self, value_bytes: int) -> int:
        """Return how many bytes of an image a value of at most this length holds."""
        return value_bytes if self is ValueEncoding.RAW else value_bytes // _LETTERS * _BYTES


def encoding_of(record: StoredRecord) -> ValueEncoding:
    """Return the form of a record's value.

    Raises:
        ValueError: It names one that no gateway writes.
    """
    if (named := record.header(HEADER)) is None:
        return ValueEncoding.RAW
    if named != ValueEncoding.BASE64.value.encode():
        raise ValueError(f"{HEADER}: not {ValueEncoding.BASE64}")
    return ValueEncoding.BASE64


def is_in(record: StoredRecord, encoding: ValueEncoding) -> bool:
    """Tell whether a record says that its value has this form."""
    return record.header(HEADER) == dict(encoding.headers).get(HEADER)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Part:
    """A part of an image, of `length` bytes, in the value of a record."""

    value: bytes
    length: int
    encoding: ValueEncoding

    def check(self) -> None:
        """Check the value.

        Raises:
            ValueError: It has another length, or is no Base64.
        """
        if len(self.value) != self.encoding.value_bytes(self.length):
            raise ValueError("the value has not the length that the headers say")
        padding = b"=" * (-self.length % _BYTES)
        if self.encoding is ValueEncoding.BASE64 and not (
            self.value.translate(None, _ALPHABET) == padding and self.value.endswith(padding)
        ):
            raise ValueError("the value is no Base64")

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end` of the part, which was checked."""
        view = memoryview(self.value)
        if self.encoding is ValueEncoding.RAW:
            return bytes(view[start:end])
        first = start // _BYTES
        decoded = binascii.a2b_base64(view[first * _LETTERS : self.encoding.value_bytes(end)])
        return decoded[start - first * _BYTES : end - first * _BYTES]
