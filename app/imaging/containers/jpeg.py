"""JPEG: its marker segments, those that a picture needs, and where others go in.

Tables, frames, scans, JFIF without its thumbnail, Adobe's colour transform and the ICC profile are
copied. All other APPn and COM segments go, also those between scans, and all after the first
end-of-image marker: multi-picture (MPO) images, gain maps, motion photos, appended archives.

Sources: ITU-T T.81, annex B; JFIF 1.02; ICC.1:2022, annex B.4; Adobe TN 5116, section 18.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata import exif, iptc
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Blocks, Metadata, Stripped, truncated
from app.imaging.metadata.resolution import Resolution
from app.imaging.metadata.xmp import Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOI, _EOI, _SOS, _JPG = 0xD8, 0xD9, 0xDA, 0xC8
_APP0, _APP1, _APP2, _APP13, _APP14, _COM = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, _JPG, 0xCC}
_ARITHMETIC = frozenset({*range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_STRUCTURE = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xE0)}) - {_JPG}

# A marker that ends a scan: not a stuffed zero, a fill byte or a restart (T.81, B.1.1.5), and none
# of the reserved codes below 0xC0, which damage puts into scans and libjpeg passes over.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")

# A camera's file has dozens, the finest progressive one some hundreds; four million empty ones
# took 8.5 s to copy.
_MAX_SEGMENTS = 10_000

_EXIF, _ICC, _IPTC = b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_XMP, _MORE_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"

# A segment's length has 16 bits and counts itself.
_MAX_PAYLOAD_BYTES = 65_533

_MAX_ICC_PIECES = 255

# A progressive JPEG has a dozen. Each may take 50 ms, though it has 100 bytes.
_MAX_SCANS = 100

# Without the bytes that may follow: a thumbnail in JFIF, nothing specified in Adobe's segment.
_JFIF_BYTES, _ADOBE_BYTES = 12, 12
# In JFIF: after its name and version; a unit and two numbers.
_DENSITY_AT = 7


def strip(data: bytes) -> Stripped:
    """Copy a JPEG without its metadata.

    Raises:
        InvalidImageError: The segments do not lead to an end-of-image marker.
    """
    copied: list[bytes] = []
    metadata = Metadata()
    size, end, scans, resolution = (0, 0), 0, 0, None
    for marker, payload, scan, end in _segments(data):  # noqa: B007 - where the last one ends
        if marker in _FRAMES and len(payload) > 5:  # noqa: PLR2004  # precision, height, width
            height, width = struct.unpack_from(">HH", payload, 1)
            size = width, height
        scans += marker == _SOS
        if scans > _MAX_SCANS:
            raise InvalidImageError(f"The image has over {_MAX_SCANS} scans.")
        if essential := _essential(marker, payload):
            if marker == _APP0 and resolution is None:
                unit, across, down = struct.unpack_from(">BHH", essential, _DENSITY_AT)
                resolution = Resolution.of(across, down, unit)
            copied.append(_segment(marker, essential) + scan)
        if marker not in _STRUCTURE | {_EOI}:
            _collect(marker, payload, metadata)
    if end < len(data):
        metadata.others.add("trailer")
    stripped = b"".join((b"\xff\xd8", *copied, b"\xff\xd9"))
    if resolution is None or not resolution.is_absolute:
        # The ratio that JFIF has where EXIF says more is that of square pixels.
        resolution = metadata.exif.resolution or resolution
    orientation = metadata.exif.orientation
    return Stripped(stripped, size, orientation, end, 1, metadata, resolution)


def with_resolution(data: bytes, resolution: Resolution) -> bytes:
    """Say the density of the pixels in the JFIF segment of a new JPEG, grey or of YCbCr."""
    jfif = b"JFIF\0\1\1" + resolution.in_jfif() + b"\0\0"
    rest = data[4 + int.from_bytes(data[4:6]) :] if data.startswith(b"JFIF\0", 6) else data[2:]
    return data[:2] + _segment(_APP0, jfif) + rest


def attach(data: bytes, blocks: Blocks) -> bytes:
    """Put blocks into a JPEG without metadata, as far as its segments can hold them."""
    payloads = (
        (_APP1, _EXIF, blocks.exif),
        (_APP1, _XMP, blocks.xmp),
        (_APP13, _IPTC, blocks.iptc and iptc.as_resources(blocks.iptc)),
    )
    segments = [
        _segment(marker, name + payload)
        for marker, name, payload in payloads
        if payload and len(name + payload) <= _MAX_PAYLOAD_BYTES
    ]
    return _insert(data, segments)


def is_arithmetic(data: bytes) -> bool:
    """Tell whether arithmetic coding is used, which no browser decodes (T.81, B.1.1.3)."""
    return next(marker for marker, *_ in _segments(data) if marker in _FRAMES) in _ARITHMETIC


def with_icc_profile(data: bytes, profile: bytes) -> bytes:
    """Put a colour profile into a JPEG that has none.

    Raises:
        ValueError: The profile is too large for a JPEG.
    """
    step = _MAX_PAYLOAD_BYTES - len(_ICC) - 2
    pieces = [profile[at : at + step] for at in range(0, len(profile), step)]
    if len(pieces) > _MAX_ICC_PIECES:
        raise ValueError("the colour profile is too large")
    return _insert(
        data,
        [
            _segment(_APP2, _ICC + bytes((number, len(pieces))) + piece)
            for number, piece in enumerate(pieces, start=1)
        ],
    )


def icc_profile(data: bytes) -> bytes | None:
    """Return the colour profile, wherever it stands before the first scan, as libjpeg does."""
    pieces: dict[int, bytes] = {}
    counts: set[int] = set()
    for marker, payload, _, _ in _segments(data):
        if marker == _SOS:
            break
        if marker == _APP2 and payload.startswith(_ICC) and len(payload) > len(_ICC) + 2:
            number, count = payload[len(_ICC) : len(_ICC) + 2]
            if number in pieces:
                return None
            pieces[number] = payload[len(_ICC) + 2 :]
            counts.add(count)
    if len(counts) != 1 or sorted(pieces) != list(range(1, counts.pop() + 1)):
        return None
    return b"".join(pieces[number] for number in sorted(pieces))


def _insert(data: bytes, segments: list[bytes]) -> bytes:
    # JFIF has to come first (JFIF 1.02, page 5).
    at = 4 + int.from_bytes(data[4:6]) if data[3] == _APP0 else 2
    return b"".join((data[:at], *segments, data[at:]))


def _collect(marker: int, payload: bytes, metadata: Metadata) -> None:
    metadata.size_bytes += len(payload)
    if marker == _APP1 and payload.startswith(_EXIF[:5]) and not metadata.exif.data:
        metadata.exif = exif.parse(payload[len(_EXIF) :])
    elif marker == _APP1 and payload.startswith(_XMP) and not metadata.xmp.data:
        metadata.xmp = Packet(payload[len(_XMP) :])
    elif marker == _APP1 and payload.startswith(_MORE_XMP):
        metadata.others.add("extended-xmp")
    elif marker == _APP13 and payload.startswith(_IPTC):
        resources = payload[len(_IPTC) :]
        if not metadata.iptc.data:
            metadata.iptc = Datasets(iptc.of_resources(resources))
        if len(iptc.as_resources(metadata.iptc.data)) < len(resources):
            metadata.others.add("photoshop")
    elif marker == _COM:
        metadata.others.add("comment")
    elif marker == _APP0 and payload[_JFIF_BYTES : _JFIF_BYTES + 2] != b"\0\0":
        metadata.others.add("thumbnail")
    elif not _essential(marker, payload):
        metadata.others.add("other")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes, int]]:
    """Yield each segment's marker, payload and entropy-coded bytes, and where it ends."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        # Stray bytes before a marker are passed over, as decoders do.
        position = _next_marker(data, position) + 2
        marker = data[position - 1]
        if marker == _EOI:
            yield marker, b"", b"", position
            return
        if marker == _SOI:
            raise InvalidImageError("The image begins a second time before it ends.")
        end = position + int.from_bytes(data[position : position + 2])
        if not position + 2 <= end <= len(data):
            raise truncated()
        scan_end = _next_marker(data, end) if marker == _SOS else end
        yield marker, data[position + 2 : end], data[end:scan_end], scan_end
        position = scan_end
    raise InvalidImageError(f"The image has over {_MAX_SEGMENTS:,} segments.")


def _next_marker(data: bytes, position: int) -> int:
    found = _MARKER.search(data, position)
    if found is None:
        raise truncated()
    return found.start()


def _essential(marker: int, payload: bytes) -> bytes:
    """Return the part of a segment's payload that stays; empty when the segment goes."""
    if marker in _STRUCTURE:
        return payload
    # A shorter one says nothing to libjpeg, and made longer would change what it takes for RGB.
    if marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= _JFIF_BYTES + 2:
        return payload[:_JFIF_BYTES] + b"\0\0"
    if marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= _ADOBE_BYTES:
        return payload[:_ADOBE_BYTES]
    if marker == _APP2 and payload.startswith(_ICC):
        return payload
    return b""


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
