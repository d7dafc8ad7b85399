"""The directories of EXIF: entries, read from a block and written into a new one.

Source: TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field

SHORT, ASCII, LONG, RATIONAL = 3, 2, 4, 5
# Whole numbers: programs write them in any of these types, and as fractions.
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_FRACTIONS = {RATIONAL: "I", 10: "i"}
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
ENTRY_BYTES, _INLINE_BYTES = 12, 4


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: its type, how many values it has, their bytes, and where these are."""

    kind: int
    count: int
    value: bytes
    at: int = field(default=0, compare=False)

    def whole_numbers(self, order: str) -> tuple[int, ...]:
        """Return the values; nothing where they are no whole numbers."""
        if letter := _NUMBERS.get(self.kind):
            return struct.unpack(f"{order}{self.count}{letter}", self.value)
        if letter := _FRACTIONS.get(self.kind):
            parts = struct.unpack(f"{order}{2 * self.count}{letter}", self.value)
            pairs = tuple(zip(parts[::2], parts[1::2], strict=True))
            if all(below and above % below == 0 for above, below in pairs):
                return tuple(above // below for above, below in pairs)
        return ()

    def one(self, number: int, order: str) -> bytes:
        """Return a number in the type of this entry; nothing where it holds none, or not one."""
        with suppress(struct.error):  # too large for its type: it was wrong before
            if self.count == 1 and (letter := _NUMBERS.get(self.kind)):
                return struct.pack(order + letter, number)
            if self.count == 1 and (letter := _FRACTIONS.get(self.kind)):
                return struct.pack(f"{order}2{letter}", number, 1)
        return b""


def read(tiff: bytes, order: str, at: int, entries: dict[int, Entry]) -> tuple[int, int]:
    """Read a directory into `entries`; return where it ends, and where the next one is.

    Raises:
        struct.error: It is not in the block.
    """
    # Entries that share bytes could be made to hold far more than the block does.
    budget = len(tiff)
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for place in range(at + 2, at + 2 + count * ENTRY_BYTES, ENTRY_BYTES):
        tag, kind, items = struct.unpack_from(f"{order}HHI", tiff, place)
        length = items * _TYPE_BYTES.get(kind, 0)
        start = place + 8
        if length > _INLINE_BYTES:
            (start,) = struct.unpack_from(f"{order}I", tiff, start)
        if length and length <= budget and start + length <= len(tiff):
            budget -= length
            entries.setdefault(tag, Entry(kind, items, tiff[start : start + length], start))
    end = at + 2 + count * ENTRY_BYTES
    return end, int.from_bytes(tiff[end : end + 4])


def written(
    order: str,
    entries: dict[int, Entry],
    at: int,
    others: tuple[bytes, ...] = (),
    following: bytes = bytes(4),
) -> bytes:
    """Return a directory.

    Args:
        order: Its byte order.
        entries: Entries by tag, whose values come after it.
        at: Where it will be in the block.
        others: Entries whose values are elsewhere in the block, as bytes.
        following: Where the next directory is.
    """
    count = len(entries) + len(others)
    values, values_at = bytearray(), at + 2 + count * ENTRY_BYTES + 4
    rows = {struct.unpack_from(f"{order}H", row)[0]: row for row in others}
    for tag, entry in entries.items():
        row = struct.pack(f"{order}HHI", tag, entry.kind, entry.count)
        if len(entry.value) <= _INLINE_BYTES:
            row += entry.value.ljust(_INLINE_BYTES, b"\0")
        else:
            row += struct.pack(f"{order}I", values_at + len(values))
            # A value begins on a word.
            values += entry.value + b"\0" * (len(entry.value) % 2)
        rows[tag] = row
    table = b"".join(row for _, row in sorted(rows.items()))
    return struct.pack(f"{order}H", len(rows)) + table + following + bytes(values)
