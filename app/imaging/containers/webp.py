"""WebP: its RIFF chunks, and those that a picture needs.

The image data, alpha, animation and ICC profile are copied. EXIF, XMP and unknown chunks go, also
those inside animation frames, and everything after the RIFF container.

Source: RFC 9649, sections 2.3 to 2.7.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata import exif
from app.imaging.metadata.icc import anonymous
from app.imaging.metadata.metadata import Blocks, Metadata, Stripped, truncated
from app.imaging.metadata.xmp import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMAGE = frozenset({b"ALPH", b"VP8 ", b"VP8L"})
_COPIED = _IMAGE | {b"VP8X", b"ICCP", b"ANIM", b"ANMF"}
_RIFF_HEADER_BYTES, _CHUNK_HEADER_BYTES = 12, 8
_VP8X_BYTES, _ANMF_HEADER_BYTES = 10, 16
_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _XMP_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x04, 0x02
_VP8L_ALPHA_BIT = 0x10

# A frame is one chunk, with two in it.
_MAX_CHUNKS, _MAX_FRAME_CHUNKS = 20_000, 16


def strip(data: bytes) -> Stripped:
    """Copy a WebP without its metadata.

    Raises:
        InvalidImageError: The chunks end early, or do not name the size of a picture.
    """
    end = _CHUNK_HEADER_BYTES + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    chunks = list(_chunks(data[_RIFF_HEADER_BYTES:end]))
    flags = chunks[0][1][0] if chunks and chunks[0][0] == b"VP8X" and chunks[0][1] else 0
    needed = _COPIED if flags & _ICC_FLAG else _COPIED - {b"ICCP"}
    copied = [(name, _essential(name, payload)) for name, payload in chunks if name in needed]
    size = _canvas(*copied[0]) if copied else (0, 0)
    metadata = _metadata(chunks, copied)
    if end < len(data):
        metadata.others.add("trailer")
    # Decoders pass over a chunk whose flag is not set.
    named = metadata.exif.named_orientation if flags & _EXIF_FLAG else None
    orientation = named or (metadata.xmp.orientation if flags & _XMP_FLAG else 1)
    stripped = _riff(copied)
    return Stripped(stripped, size, orientation, end, _frame_count(copied), metadata)


def attach(data: bytes, blocks: Blocks) -> bytes:
    """Put EXIF and XMP into a WebP without any; it has no place for IPTC."""
    added = [(b"EXIF", blocks.exif), (b"XMP ", blocks.xmp)]
    added = [chunk for chunk in added if chunk[1]]
    if not added:
        return data
    return _riff(_extended(list(_chunks(data[_RIFF_HEADER_BYTES:]))) + added)


def _metadata(chunks: list[tuple[bytes, bytes]], copied: list[tuple[bytes, bytes]]) -> Metadata:
    metadata = Metadata()
    # Only the extended layout, which begins with VP8X, has room for EXIF.
    has_exif = bool(copied) and copied[0][0] == b"VP8X"
    for name, payload in chunks:
        if name in _IMAGE | {b"VP8X", b"ANIM", b"ANMF"}:
            continue
        metadata.size_bytes += len(payload)
        if name == b"EXIF" and has_exif and not metadata.exif.data:
            metadata.exif = exif.parse(payload.removeprefix(b"Exif\0\0"))
        elif name == b"XMP " and not metadata.xmp.data:
            metadata.xmp = Packet(payload)
        elif name != b"ICCP":
            metadata.others.add("other")
    return metadata


def _extended(chunks: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the chunks in the extended layout (RFC 9649, 2.7)."""
    name, payload = chunks[0]
    if name == b"VP8X":
        return chunks
    width, height = _canvas(name, payload)
    transparent = name == b"VP8L" and payload[4] & _VP8L_ALPHA_BIT
    flags = bytes((_ALPHA_FLAG if transparent else 0, 0, 0, 0))
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return [(b"VP8X", flags + sides), *chunks]


def _chunks(body: bytes, most: int = _MAX_CHUNKS) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    for _ in range(most):
        if position >= len(body):
            return
        start = position + _CHUNK_HEADER_BYTES
        end = start + int.from_bytes(body[position + 4 : start], "little")
        if start > len(body) or end > len(body):
            raise truncated()
        yield body[position : position + 4], body[start:end]
        position = end + end % 2
    if position < len(body):
        raise InvalidImageError(f"The image has over {most:,} chunks.")


def _essential(name: bytes, payload: bytes) -> bytes:
    """Return an animation frame of its image alone, and a profile that names no device."""
    if name == b"ICCP":
        return anonymous(payload)
    if name != b"ANMF" or len(payload) < _ANMF_HEADER_BYTES:
        return payload
    image = [c for c in _chunks(payload[_ANMF_HEADER_BYTES:], _MAX_FRAME_CHUNKS) if c[0] in _IMAGE]
    return payload[:_ANMF_HEADER_BYTES] + b"".join(_chunk(*c) for c in image)


def _canvas(name: bytes, payload: bytes) -> tuple[int, int]:
    """Return the size that a file's first chunk names, without decoding."""
    if name == b"VP8X" and len(payload) >= _VP8X_BYTES:
        width, height = (int.from_bytes(payload[i : i + 3], "little") + 1 for i in (4, 7))
        return width, height
    if name == b"VP8L" and payload[:1] == b"\x2f":
        bits = int.from_bytes(payload[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and payload[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", payload.ljust(10, b"\0"), 6)
        return width & 0x3FFF, height & 0x3FFF
    raise InvalidImageError("The image does not name its size.")


def _frame_count(chunks: list[tuple[bytes, bytes]]) -> int:
    return sum(name == b"ANMF" for name, _ in chunks) or 1


def _riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    names = {name for name, _ in chunks}
    if chunks and chunks[0][0] == b"VP8X":
        chunks = [(b"VP8X", _flagged(chunks[0][1], names)), *chunks[1:]]
    body = b"".join(_chunk(*chunk) for chunk in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _flagged(header: bytes, names: set[bytes]) -> bytes:
    """Return a VP8X header whose flags match the chunks that are there."""
    flags = header[0] & (_ALPHA_FLAG | _ANIMATION_FLAG)
    flags |= _ICC_FLAG * (b"ICCP" in names) | _EXIF_FLAG * (b"EXIF" in names)
    flags |= _XMP_FLAG * (b"XMP " in names)
    return bytes((flags,)) + header[1:]


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
