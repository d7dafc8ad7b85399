"""PNG and APNG: their chunks, those that a picture needs, and files that Pillow rewrites exactly.

The critical chunks, those of an animation, and those of colour and shape are copied. Text,
EXIF, time and every unknown ancillary chunk go, and everything after IEND.

Sources: W3C PNG 3, 4.7, 5 and 11 (chunks), 13.1 (errors).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata import exif
from app.imaging.metadata.icc import anonymous
from app.imaging.metadata.metadata import Blocks, Metadata, Stripped, truncated
from app.imaging.metadata.xmp import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_APPEARANCE = frozenset(
    {b"cHRM", b"cICP", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"mDCV", b"cLLI", b"pHYs"}
)
_DATA = frozenset({b"IDAT", b"fdAT"})

# A longer chunk has something else in it.
_FIXED_BYTES = {
    b"cHRM": 32,
    b"cICP": 4,
    b"gAMA": 4,
    b"sRGB": 1,
    b"mDCV": 24,
    b"cLLI": 8,
    b"pHYs": 9,
}

_IHDR_BYTES, _ACTL_BYTES = 13, 8

# 20 MB in pieces of 200 bytes; encoders write 8 KB and more.
_MAX_CHUNKS, _MAX_OTHER_CHUNKS = 100_000, 10_000

_PALETTE_COLOUR, _GREY_COLOUR = 3, 0

# Pillow 13 decodes 16-bit truecolour to 8 bits, and only grey in full.
_DEEPEST_TRUECOLOUR_BITS = 8

_ANCILLARY_BIT = 0x20

# Values of other chunks that go along with sRGB (11.3.2.5).
_SRGB_CODE_POINTS = b"\x01\x0d"
_SRGB_GAMMA = struct.pack(">I", 45_455)
_SRGB_CHROMATICITIES = struct.pack(
    ">8I", 31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000
)

_MAX_NOTICE_BYTES = 4000

# Those of screens have some kilobytes, those of printers a megabyte or two.
_MAX_PROFILE_BYTES = 10_000_000

_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})

# Keyword, not compressed, without language and translation (11.3.3.4; XMP part 3, 1.1.5).
_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    payload: bytes
    raw: bytes


def strip(data: bytes) -> Stripped:
    """Copy a PNG without its metadata; an animation has as many frames as there are.

    Raises:
        InvalidImageError: The chunks are damaged, or do not lead to IEND.
    """
    copied: list[_Chunk] = []
    metadata = Metadata()
    size, end = (0, 0), len(_SIGNATURE)
    for chunk in _chunks(data):
        end += len(chunk.raw)
        if chunk.name == b"IHDR" and len(chunk.payload) == _IHDR_BYTES:
            size = struct.unpack_from(">II", chunk.payload)
        if _is_copied(chunk):
            copied.append(_with_anonymous_profile(chunk) if chunk.name == b"iCCP" else chunk)
        if chunk.name not in _PIXELS | _ANIMATION:
            _collect(chunk, metadata)
    if end < len(data):
        metadata.others.add("trailer")
    frame_count = _count_frames(copied)
    stripped = b"".join((_SIGNATURE, *_as_counted(copied, frame_count)))
    return Stripped(stripped, size, metadata.orientation, end, frame_count or 1, metadata)


def _with_anonymous_profile(chunk: _Chunk) -> _Chunk:
    """Return a chunk whose colour profile names no device; itself where none does (11.3.2.3)."""
    name, _, packed = chunk.payload.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return chunk
    if (changed := anonymous(profile)) == profile:
        return chunk
    payload = name + b"\0\0" + zlib.compress(changed, 9)
    return _Chunk(chunk.name, payload, _chunk(chunk.name, payload))


def _count_frames(chunks: list[_Chunk]) -> int:
    """Return the number of frames; 0 for a still picture, whose animation is none (11.3.6)."""
    names = [chunk.name for chunk in chunks]
    before_data = chunks[: names.index(b"IDAT")] if b"IDAT" in names else []
    announced = next((chunk.payload for chunk in before_data if chunk.name == b"acTL"), b"")
    is_animated = len(announced) == _ACTL_BYTES and any(announced[:4])
    return names.count(b"fcTL") if is_animated else 0


def _as_counted(chunks: list[_Chunk], frame_count: int) -> Iterator[bytes]:
    """Yield chunks with the number of frames that are there; without any, none of an animation."""
    for chunk in chunks:
        if chunk.name == b"acTL" and frame_count:
            yield _chunk(b"acTL", frame_count.to_bytes(4) + chunk.payload[4:])
        elif frame_count or chunk.name not in _ANIMATION:
            yield chunk.raw


def attach(data: bytes, blocks: Blocks) -> bytes:
    """Put EXIF and XMP into a PNG without any; it has no place for IPTC."""
    at = len(_SIGNATURE) + 12 + _IHDR_BYTES
    exif_chunk = _chunk(b"eXIf", blocks.exif) if blocks.exif else b""
    xmp_chunk = _chunk(b"iTXt", _XMP + blocks.xmp) if blocks.xmp else b""
    return b"".join((data[:at], exif_chunk, xmp_chunk, data[at:]))


def _collect(chunk: _Chunk, metadata: Metadata) -> None:
    metadata.size_bytes += len(chunk.payload)
    if chunk.name == b"eXIf" and not metadata.exif.data:
        metadata.exif = exif.parse(chunk.payload.removeprefix(b"Exif\0\0"))
    elif chunk.name in _TEXT:
        keyword, _, text = chunk.payload.partition(b"\0")
        if chunk.payload.startswith(_XMP) and not metadata.xmp.data:
            metadata.xmp = Packet(chunk.payload[len(_XMP) :])
        elif keyword == b"XML:com.adobe.xmp":
            metadata.others.add("xmp")
        else:
            metadata.others.add("text")
        if keyword == b"Copyright":
            metadata.notice = _plain_text(chunk.name, text)
    elif chunk.name not in _APPEARANCE:
        metadata.others.add("other")


def has_unusual_colours(data: bytes) -> bool:
    """Tell whether chunks alone say that the colours are not those of sRGB (4.3)."""
    chunks = {chunk.name: chunk.payload for chunk in _chunks(data)}
    if code_points := chunks.get(b"cICP"):
        return code_points[:2] != _SRGB_CODE_POINTS
    if chunks.keys() & {b"sRGB", b"iCCP"}:
        return False
    said = chunks.get(b"gAMA", _SRGB_GAMMA), chunks.get(b"cHRM", _SRGB_CHROMATICITIES)
    return said != (_SRGB_GAMMA, _SRGB_CHROMATICITIES)


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
    position, others = len(_SIGNATURE), 0
    for _ in range(_MAX_CHUNKS):
        length = int.from_bytes(data[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            raise truncated()
        name = data[position + 4 : position + 8]
        yield _Chunk(name, data[position + 8 : end - 4], data[position:end])
        if name == b"IEND":
            return
        position, others = end, others + (name not in _DATA)
        if others > _MAX_OTHER_CHUNKS:
            raise InvalidImageError(f"The image has over {_MAX_OTHER_CHUNKS:,} chunks.")
    raise InvalidImageError(f"The image has over {_MAX_CHUNKS:,} chunks.")


def _plain_text(name: bytes, text: bytes) -> str:
    """Return the text of a text chunk, after its keyword (11.3.3)."""
    try:
        if name == b"iTXt":
            flags, (_, _, text) = text[:2], text[2:].split(b"\0", 2)
            text = _unpacked(text) if flags[:1] == b"\1" else text
        elif name == b"zTXt":
            text = _unpacked(text[1:])
    except (ValueError, zlib.error):
        return ""
    return exif.clean_notice(text if name == b"iTXt" else text.decode("latin-1"))


def _unpacked(text: bytes) -> bytes:
    return zlib.decompressobj().decompress(text, _MAX_NOTICE_BYTES)


def _is_copied(chunk: _Chunk) -> bool:
    if len(chunk.payload) > _FIXED_BYTES.get(chunk.name, len(chunk.payload)):
        return False
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
