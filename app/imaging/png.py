"""PNG and APNG: their chunks, which of them a picture needs, and what Pillow can rewrite exactly.

Kept are the critical chunks, those of an animation, and those that decide colour and shape. Text,
EXIF, time and every unknown ancillary chunk go, and everything after IEND.

Sources: W3C PNG 3, 4.7, 5 and 11 (chunks), 13.1 (errors).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata import Stripped, orientation_exif, read_orientation, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_APPEARANCE = frozenset(
    {b"cHRM", b"cICP", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"mDCV", b"cLLI", b"pHYs"}
)
_IHDR_BYTES, _ACTL_BYTES = 13, 8
_PALETTE_COLOUR, _GREY_COLOUR = 3, 0
_DEEPEST_TRUECOLOUR_BITS = 8
"""Pillow 13 decodes 16-bit truecolour to 8 bits, and only grey in full."""

_ANCILLARY_BIT = 0x20


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    payload: bytes
    raw: bytes


def strip(data: bytes) -> Stripped:
    """Copy a PNG without its metadata; also what its `Stripped.frame_count` says is checked.

    Raises:
        InvalidImageError: the chunks are damaged, do not lead to IEND, or miscount their frames.
    """
    kept: list[bytes] = []
    size, orientation, announced, controls = (0, 0), 1, 0, 0
    end = len(_SIGNATURE)
    for chunk in _chunks(data):
        end += len(chunk.raw)
        if chunk.name == b"IHDR" and len(chunk.payload) == _IHDR_BYTES:
            size = struct.unpack_from(">II", chunk.payload)
        elif chunk.name == b"eXIf":
            orientation = read_orientation(chunk.payload)
        elif chunk.name == b"acTL" and len(chunk.payload) == _ACTL_BYTES:
            announced = int.from_bytes(chunk.payload[:4])
        controls += chunk.name == b"fcTL"
        if _stays(chunk):
            kept.append(chunk.raw)
    if announced != controls:
        raise InvalidImageError("The animation does not have the frames that it announces.")
    if orientation != 1:
        kept.insert(1, _chunk(b"eXIf", orientation_exif(orientation)))
    return Stripped(b"".join((_SIGNATURE, *kept)), size, orientation, end, max(1, announced))


def rewritable(data: bytes) -> bool:
    """Tell whether decoding to Pillow's modes and encoding again keeps every sample.

    Not so for animations, for 16-bit truecolour, and for a transparent colour outside a palette,
    which Pillow does not scale along with samples of fewer than 8 bits.
    """
    chunks = {chunk.name: chunk.payload for chunk in _chunks(data)}
    bit_depth, colour_type = chunks[b"IHDR"][8:10]
    deep = bit_depth > _DEEPEST_TRUECOLOUR_BITS and colour_type != _GREY_COLOUR
    keyed = b"tRNS" in chunks and colour_type != _PALETTE_COLOUR
    return not (b"acTL" in chunks or deep or keyed)


def with_appearance_of(original: bytes, encoded: bytes) -> bytes:
    """Return `encoded` with the colour and density chunks of `original`, byte by byte."""
    appearance = (chunk.raw for chunk in _chunks(original) if chunk.name in _APPEARANCE)
    header, *pixels = (chunk.raw for chunk in _chunks(encoded) if chunk.name in _PIXELS)
    return b"".join((_SIGNATURE, header, *appearance, *pixels))


def _chunks(data: bytes) -> Iterator[_Chunk]:
    position = len(_SIGNATURE)
    while True:
        length = int.from_bytes(data[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            raise truncated()
        name = data[position + 4 : position + 8]
        yield _Chunk(name, data[position + 8 : end - 4], data[position:end])
        if name == b"IEND":
            return
        position = end


def _stays(chunk: _Chunk) -> bool:
    if chunk.name in _PIXELS | _ANIMATION | _APPEARANCE:
        if zlib.crc32(chunk.raw[4:-4]) != int.from_bytes(chunk.raw[-4:]):
            raise InvalidImageError("A checksum in the image is wrong.")
        return True
    if not chunk.name[0] & _ANCILLARY_BIT:
        raise InvalidImageError("The image has a critical chunk that no decoder knows.")
    return False


def _chunk(name: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(name + payload)
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", checksum)
