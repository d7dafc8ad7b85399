"""The chunks of a PNG, and which of them decoders heed.

Hides libpng's rules, by which browsers show a PNG: a chunk out of its place, of a wrong length, or
there a second time is passed over, and of a transparent colour only the bits of the depth count.
Pillow and oxipng have other rules, so both get the heeded chunks alone.

Sources: W3C PNG 3, 5.6 (order of chunks), 11.3.1.1 (tRNS); libpng 1.6, pngrutil.c.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata.metadata import truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 13
GREY, TRUECOLOUR, PALETTE = 0, 2, 3

DATA = frozenset({b"IDAT", b"fdAT"})
# Before the palette and the data.
_COLOURS = frozenset({b"cHRM", b"cICP", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"mDCV", b"cLLI"})
APPEARANCE = _COLOURS | {b"pHYs"}

# 20 MB in pieces of 200 bytes; encoders write 8 KB and more.
_MAX_CHUNKS, _MAX_OTHER_CHUNKS = 100_000, 10_000

_RGB_BYTES = 3
_KEY_SAMPLES = {GREY: 1, TRUECOLOUR: 3}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk: its name and payload, and all its bytes."""

    name: bytes
    payload: bytes
    raw: bytes

    @classmethod
    def of(cls, name: bytes, payload: bytes) -> Chunk:
        """Make a chunk with its length and checksum."""
        checksum = zlib.crc32(name + payload)
        length = struct.pack(">I", len(payload))
        return cls(name, payload, length + name + payload + struct.pack(">I", checksum))


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks from the header up to and with IEND.

    Raises:
        InvalidImageError: They do not lead to IEND, or are too many.
    """
    position, others = len(SIGNATURE), 0
    for _ in range(_MAX_CHUNKS):
        length = int.from_bytes(data[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            raise truncated()
        name = data[position + 4 : position + 8]
        yield Chunk(name, data[position + 8 : end - 4], data[position:end])
        if name == b"IEND":
            return
        position, others = end, others + (name not in DATA)
        if others > _MAX_OTHER_CHUNKS:
            raise InvalidImageError(f"The image has over {_MAX_OTHER_CHUNKS:,} chunks.")
    raise InvalidImageError(f"The image has over {_MAX_CHUNKS:,} chunks.")


@dataclass(slots=True)
class Reader:
    """The state of libpng after the chunks so far."""

    bit_depth: int = 8
    colour_type: int = TRUECOLOUR
    names: set[bytes] = field(default_factory=set)
    palette_entries: int = 0

    def heeded(self, chunk: Chunk) -> Chunk | None:
        """Return the next chunk as libpng takes it; None where it passes over it.

        Raises:
            InvalidImageError: A second palette, or data before the one that it needs.
        """
        name, known = chunk.name, self.names
        if name == b"IHDR" and len(chunk.payload) == HEADER_BYTES:
            self.bit_depth, self.colour_type = chunk.payload[8:10]
        elif name == b"PLTE":
            return self._palette(chunk)
        elif name == b"IDAT" and self.colour_type == PALETTE and not self.palette_entries:
            raise InvalidImageError("The image has no palette before its data.")
        elif name == b"tRNS" or name in APPEARANCE:
            if {name, b"IDAT"} & known or (name in _COLOURS and b"PLTE" in known):
                return None
            if name == b"tRNS":
                return self._transparency(chunk)
        known.add(name)
        return chunk

    def _palette(self, chunk: Chunk) -> Chunk | None:
        if b"IDAT" in self.names and self.colour_type != PALETTE:
            return None
        if b"PLTE" in self.names:
            raise InvalidImageError("The image has two palettes.")
        self.names.add(b"PLTE")
        if self.colour_type == PALETTE:
            self.palette_entries = min(len(chunk.payload) // _RGB_BYTES, 1 << self.bit_depth)
        return chunk

    def _transparency(self, chunk: Chunk) -> Chunk | None:
        length, samples = len(chunk.payload), _KEY_SAMPLES.get(self.colour_type, 0)
        if self.colour_type == PALETTE:
            fits = 0 < length <= self.palette_entries
        else:
            fits = bool(samples) and length == 2 * samples
        if not fits:
            return None
        self.names.add(chunk.name)
        if self.colour_type == PALETTE:
            return chunk
        key = struct.unpack(f">{samples}H", chunk.payload)
        used = (1 << self.bit_depth) - 1
        return Chunk.of(chunk.name, struct.pack(f">{samples}H", *(each & used for each in key)))


def with_heeded(data: bytes) -> bytes:
    """Return a PNG without the chunks of appearance that decoders pass over."""
    reader = Reader()
    seen = (reader.heeded(chunk) for chunk in chunks(data))
    return SIGNATURE + b"".join(chunk.raw for chunk in seen if chunk)
