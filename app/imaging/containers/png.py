"""PNG and APNG: their chunks, those that a picture needs, and files that Pillow rewrites exactly.

The critical chunks, those of an animation, and those of colour and shape are copied. Text,
EXIF, time and every unknown ancillary chunk go, and everything after IEND.

Sources: W3C PNG 3, 4.7, 5 and 11 (chunks), 13.1 (errors).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.containers.png_chunks import (
    APPEARANCE,
    DATA,
    GREY,
    HEADER_BYTES,
    PALETTE,
    SIGNATURE,
    Chunk,
    Reader,
    chunks,
)
from app.imaging.metadata import exif
from app.imaging.metadata.icc import anonymous
from app.imaging.metadata.metadata import Blocks, Metadata, Stripped
from app.imaging.metadata.resolution import Resolution
from app.imaging.metadata.xmp import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})

# One of another length is passed over by decoders, and may have something else in it.
_FIXED_BYTES = {
    b"cHRM": 32,
    b"cICP": 4,
    b"gAMA": 4,
    b"sRGB": 1,
    b"mDCV": 24,
    b"cLLI": 8,
    b"pHYs": 9,
}

_ACTL_BYTES = 8

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


def strip(data: bytes) -> Stripped:
    """Copy a PNG without its metadata; an animation has as many frames as there are.

    Raises:
        InvalidImageError: The chunks are damaged, or do not lead to IEND.
    """
    copied: list[Chunk] = []
    metadata = Metadata()
    size, end = (0, 0), len(SIGNATURE)
    reader, resolution = Reader(), None
    for chunk in chunks(data):
        end += len(chunk.raw)
        if chunk.name == b"IHDR" and len(chunk.payload) == HEADER_BYTES:
            size = struct.unpack_from(">II", chunk.payload)
        if _is_copied(chunk) and (seen := reader.heeded(chunk)):
            copied.append(_with_anonymous_profile(seen) if chunk.name == b"iCCP" else seen)
            if chunk.name == b"pHYs":
                *both, unit = struct.unpack(">IIB", chunk.payload)
                resolution = Resolution.of_metres(*both, is_absolute=bool(unit))
        if chunk.name not in _PIXELS | _ANIMATION:
            _collect(chunk, metadata)
    if end < len(data):
        metadata.others.add("trailer")
    frame_count = _count_frames(copied)
    stripped = b"".join((SIGNATURE, *_as_counted(copied, frame_count)))
    orientation = metadata.orientation
    return Stripped(stripped, size, orientation, end, frame_count or 1, metadata, resolution)


def _with_anonymous_profile(chunk: Chunk) -> Chunk:
    """Return a chunk whose colour profile names no device; itself where none does (11.3.2.3)."""
    name, _, packed = chunk.payload.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return chunk
    if (changed := anonymous(profile)) == profile:
        return chunk
    payload = name + b"\0\0" + zlib.compress(changed, 9)
    return Chunk.of(chunk.name, payload)


def _count_frames(copied: list[Chunk]) -> int:
    """Return the number of frames; 0 for a still picture, whose animation is none (11.3.6)."""
    names = [chunk.name for chunk in copied]
    before_data = copied[: names.index(b"IDAT")] if b"IDAT" in names else []
    announced = next((chunk.payload for chunk in before_data if chunk.name == b"acTL"), b"")
    is_animated = len(announced) == _ACTL_BYTES and any(announced[:4])
    return names.count(b"fcTL") if is_animated else 0


def _as_counted(copied: list[Chunk], frame_count: int) -> Iterator[bytes]:
    """Yield chunks with the number of frames that are there; without any, none of an animation."""
    for chunk in copied:
        if chunk.name == b"acTL" and frame_count:
            yield Chunk.of(b"acTL", frame_count.to_bytes(4) + chunk.payload[4:]).raw
        elif frame_count or chunk.name not in _ANIMATION:
            yield chunk.raw


def with_resolution(data: bytes, resolution: Resolution) -> bytes:
    """Put the density of the pixels into a PNG, unless it says one."""
    if b"pHYs" in _payloads(data):
        return data
    at = len(SIGNATURE) + 12 + HEADER_BYTES
    return data[:at] + Chunk.of(b"pHYs", resolution.in_phys()).raw + data[at:]


def attach(data: bytes, blocks: Blocks) -> bytes:
    """Put EXIF and XMP into a PNG without any; it has no place for IPTC."""
    at = len(SIGNATURE) + 12 + HEADER_BYTES
    exif_chunk = Chunk.of(b"eXIf", blocks.exif).raw if blocks.exif else b""
    xmp_chunk = Chunk.of(b"iTXt", _XMP + blocks.xmp).raw if blocks.xmp else b""
    return b"".join((data[:at], exif_chunk, xmp_chunk, data[at:]))


def _collect(chunk: Chunk, metadata: Metadata) -> None:
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
    elif chunk.name not in APPEARANCE:
        metadata.others.add("other")


def has_unusual_colours(data: bytes) -> bool:
    """Tell whether chunks alone say that the colours are not those of sRGB (4.3)."""
    payloads = _payloads(data)
    if code_points := payloads.get(b"cICP"):
        return code_points[:2] != _SRGB_CODE_POINTS
    if payloads.keys() & {b"sRGB", b"iCCP"}:
        return False
    said = payloads.get(b"gAMA", _SRGB_GAMMA), payloads.get(b"cHRM", _SRGB_CHROMATICITIES)
    return said != (_SRGB_GAMMA, _SRGB_CHROMATICITIES)


def rewritable(data: bytes) -> bool:
    """Tell whether decoding to Pillow's modes and encoding again keeps every sample.

    Not so for animations, for 16-bit truecolour, and for a transparent colour outside a palette,
    which Pillow does not scale along with samples of fewer than 8 bits.
    """
    payloads = _payloads(data)
    bit_depth, colour_type = payloads[b"IHDR"][8:10]
    deep = bit_depth > _DEEPEST_TRUECOLOUR_BITS and colour_type != GREY
    keyed = b"tRNS" in payloads and colour_type != PALETTE
    return not (b"acTL" in payloads or deep or keyed)


def colour_key(data: bytes) -> tuple[int, tuple[int, ...]] | None:
    """Return the bit depth and samples of the one colour that is transparent, if there is one."""
    payloads = _payloads(data)
    bit_depth, colour_type = payloads[b"IHDR"][8:10]
    key = payloads.get(b"tRNS")
    if key is None or colour_type == PALETTE:
        return None
    return bit_depth, struct.unpack(f">{len(key) // 2}H", key)


def _payloads(data: bytes) -> dict[bytes, bytes]:
    return {chunk.name: chunk.payload for chunk in chunks(data) if chunk.name not in DATA}


def with_appearance_of(original: bytes, encoded: bytes) -> bytes:
    """Return `encoded` with the colour and density chunks of `original`, byte by byte."""
    appearance = (chunk.raw for chunk in chunks(original) if chunk.name in APPEARANCE)
    header, *pixels = (chunk.raw for chunk in chunks(encoded) if chunk.name in _PIXELS)
    return b"".join((SIGNATURE, header, *appearance, *pixels))


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


def _is_copied(chunk: Chunk) -> bool:
    if len(chunk.payload) != _FIXED_BYTES.get(chunk.name, len(chunk.payload)):
        return False
    if chunk.name in _PIXELS | _ANIMATION | APPEARANCE:
        if zlib.crc32(chunk.raw[4:-4]) != int.from_bytes(chunk.raw[-4:]):
            raise InvalidImageError("A checksum in the image is wrong.")
        return True
    if not chunk.name[0] & _ANCILLARY_BIT:
        raise InvalidImageError("The image has a critical chunk that no decoder knows.")
    return False
