"""JPEG: the segments that a picture needs, and where others go in.

Tables, frames, scans, JFIF without its thumbnail, Adobe's colour transform and the ICC profile are
copied. All other APPn and COM segments go, also those between scans, and all after the first
end-of-image marker: multi-picture (MPO) images, gain maps, motion photos, appended archives.

Sources: ITU-T T.81, annex B; JFIF 1.02; ICC.1:2022, annex B.4; Adobe TN 5116, section 18.
"""

from __future__ import annotations

import re
import struct

from app.errors import InvalidImageError
from app.imaging.containers.jpeg_segments import (
    EOI,
    FRAMES,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    SOS,
    STRUCTURE,
    segment,
    segments,
)
from app.imaging.metadata import exif, iptc
from app.imaging.metadata.icc import anonymous
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Blocks, Metadata, Stripped, truncated
from app.imaging.metadata.resolution import Resolution
from app.imaging.metadata.xmp import Packet

_APP0, _APP1, _APP2, _APP13, _APP14, _COM = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE
_ARITHMETIC = frozenset({*range(0xC9, 0xCC), *range(0xCD, 0xD0)})

_EXIF, _ICC, _IPTC = b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_INDEX = b"MPF\0"
_XMP, _MORE_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"

_MAX_ICC_PIECES = 255

# A progressive JPEG has a dozen. Each may take 50 ms, though it has 100 bytes.
_MAX_SCANS = 100

_COEFFICIENTS = 64

_END = b"\xff\xd9"
_RST0, _RESTART = 0xD0, re.compile(rb"\xff([\xd0-\xd7])")

# More bits than an MCU takes; neither these bytes nor their complements begin a marker.
_NOISE = bytes(number * 151 % 254 + 1 for number in range(1_000))

# Without the bytes that may follow: a thumbnail in JFIF, nothing specified in Adobe's segment.
_JFIF_BYTES, _ADOBE_BYTES = 12, 12
# In JFIF: after its name and version; a unit and two numbers.
_DENSITY_AT = 7


def strip(data: bytes) -> Stripped:
    """Copy a JPEG without its metadata; one that ends with its last scan gets its end marker.

    Raises:
        InvalidImageError: The segments lead to no end-of-image marker, nor through all scans.
    """
    copied: list[bytes] = []
    metadata = Metadata()
    size, end, frame, scans, marker = (0, 0), 0, b"", list[bytes](), 0
    resolution: Resolution | None = None
    for marker, payload, scan, end in segments(data):  # noqa: B007 - where the last one ends
        if marker in FRAMES and len(payload) > 5:  # noqa: PLR2004  # precision, height, width
            height, width = struct.unpack_from(">HH", payload, 1)
            size, frame = (width, height), payload
        if marker == SOS:
            scans.append(payload)
        if len(scans) > _MAX_SCANS:
            raise InvalidImageError(f"The image has over {_MAX_SCANS} scans.")
        if essential := _essential(marker, payload):
            if marker == _APP0:
                resolution = resolution or _density(essential)
            copied.append(segment(marker, essential) + scan)
        if marker not in STRUCTURE | {EOI}:
            _collect(marker, payload, metadata)
    if end < len(data):
        metadata.others.add("trailer")
    was_open = marker != EOI
    if was_open and not _is_covered(frame, scans):
        raise truncated()
    stripped = _with_anonymous_profile(b"".join((b"\xff\xd8", *copied, b"\xff\xd9")))
    resolution = _more_exact(resolution, metadata.exif.resolution)
    orientation = metadata.orientation
    return Stripped(stripped, size, orientation, end, 1, metadata, resolution, was_open=was_open)


def _density(jfif: bytes) -> Resolution | None:
    unit, across, down = struct.unpack_from(">BHH", jfif, _DENSITY_AT)
    return Resolution.of(across, down, unit)


def _more_exact(jfif: Resolution | None, said: Resolution | None) -> Resolution | None:
    # The ratio that JFIF has where EXIF says more is that of square pixels.
    return jfif if jfif and jfif.is_absolute else said or jfif


def with_tails(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG that had no end marker with two kinds of noise after its last scan.

    A decoder passes over what follows the last MCU. Where MCUs are missing, it takes them from
    there: the two, whose first bit already differs, become two pictures. Where whole restart
    intervals are missing, it looks for the next restart marker.
    """
    body = data[: -len(_END)]
    restarts = _RESTART.findall(body, body.rindex(b"\xff\xda"))
    restart = bytes((0xFF, _RST0 + (restarts[-1][0] - _RST0 + 1) % 8 if restarts else _RST0))
    noise = _NOISE, bytes(0xFF - byte for byte in _NOISE)
    first, second = (body + each + restart + each + _END for each in noise)
    return first, second


def _is_covered(frame: bytes, scans: list[bytes]) -> bool:
    """Tell whether scans bring all coefficients of all components in full (T.81, B.2.3, G.1.1)."""
    seen = {component: set[int]() for component in frame[6::3]}
    for scan in scans:
        parameters = 1 + 2 * scan[0] if scan else 0
        if len(scan) < parameters + 3:
            return False
        first, last, approximation = scan[parameters : parameters + 3]
        if not approximation & 0x0F:
            for component in scan[1:parameters:2]:
                seen.get(component, set()).update(range(first, last + 1))
    return bool(seen) and all(len(each) >= _COEFFICIENTS for each in seen.values())


def with_resolution(data: bytes, resolution: Resolution) -> bytes:
    """Say the density of the pixels in the JFIF segment of a new JPEG, grey or of YCbCr."""
    jfif = b"JFIF\0\1\1" + resolution.in_jfif() + b"\0\0"
    rest = data[4 + int.from_bytes(data[4:6]) :] if data.startswith(b"JFIF\0", 6) else data[2:]
    return data[:2] + segment(_APP0, jfif) + rest


def attach(data: bytes, blocks: Blocks) -> bytes:
    """Put blocks into a JPEG without metadata, as far as its segments can hold them."""
    payloads = (
        (_APP1, _EXIF, blocks.exif),
        (_APP1, _XMP, blocks.xmp),
        (_APP13, _IPTC, blocks.iptc and iptc.as_resources(blocks.iptc)),
    )
    fitting = [
        segment(marker, name + payload)
        for marker, name, payload in payloads
        if payload and len(name + payload) <= MAX_PAYLOAD_BYTES
    ]
    return _insert(data, fitting)


def of_one_picture(data: bytes) -> bytes:
    """Return a JPEG that does not tell of pictures and videos that came after it.

    Their index goes (CIPA DC-007, 5.2), and what XMP says of them.
    """
    parts, start = [], 0
    for marker, payload, _, end in segments(data):
        at = end - len(payload) - HEADER_BYTES
        if marker == _APP2 and payload.startswith(_INDEX):
            parts.append(data[start:at])
            start = end
        elif marker == _APP1 and payload.startswith(_XMP):
            packet = Packet(payload[len(_XMP) :])
            alone = _XMP + packet.of_one_picture().data
            if alone != payload and len(alone) <= MAX_PAYLOAD_BYTES:
                parts += [data[start:at], segment(marker, alone)]
                start = end
    return b"".join((*parts, data[start:]))


def _with_anonymous_profile(data: bytes) -> bytes:
    """Return a JPEG whose colour profile names no device; its pieces keep their places."""
    pieces = sorted(
        (payload[len(_ICC)], end - len(payload) + len(_ICC) + 2, end)
        for marker, payload, _, end in segments(data)
        if marker == _APP2 and payload.startswith(_ICC) and len(payload) > len(_ICC) + 2
    )
    profile = b"".join(data[start:end] for _, start, end in pieces)
    if (changed := anonymous(profile)) == profile:
        return data
    copied, at = bytearray(data), 0
    for _, start, end in pieces:
        copied[start:end] = changed[at : at + end - start]
        at += end - start
    return bytes(copied)


def is_arithmetic(data: bytes) -> bool:
    """Tell whether arithmetic coding is used, which no browser decodes (T.81, B.1.1.3)."""
    return next(marker for marker, *_ in segments(data) if marker in FRAMES) in _ARITHMETIC


def with_icc_profile(data: bytes, profile: bytes) -> bytes:
    """Put a colour profile into a JPEG that has none.

    Raises:
        ValueError: The profile is too large for a JPEG.
    """
    step = MAX_PAYLOAD_BYTES - len(_ICC) - 2
    pieces = [profile[at : at + step] for at in range(0, len(profile), step)]
    if len(pieces) > _MAX_ICC_PIECES:
        raise ValueError("the colour profile is too large")
    return _insert(
        data,
        [
            segment(_APP2, _ICC + bytes((number, len(pieces))) + piece)
            for number, piece in enumerate(pieces, start=1)
        ],
    )


def icc_profile(data: bytes) -> bytes | None:
    """Return the colour profile, wherever it stands before the first scan, as libjpeg does."""
    pieces: dict[int, bytes] = {}
    counts: set[int] = set()
    for marker, payload, _, _ in segments(data):
        if marker == SOS:
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


def _insert(data: bytes, added: list[bytes]) -> bytes:
    # JFIF has to come first (JFIF 1.02, page 5).
    at = 4 + int.from_bytes(data[4:6]) if data[3] == _APP0 else 2
    return b"".join((data[:at], *added, data[at:]))


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


def _essential(marker: int, payload: bytes) -> bytes:
    """Return the part of a segment's payload that stays; empty when the segment goes."""
    if marker in STRUCTURE:
        return payload
    # A shorter one says nothing to libjpeg, and made longer would change what it takes for RGB.
    if marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= _JFIF_BYTES + 2:
        return payload[:_JFIF_BYTES] + b"\0\0"
    if marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= _ADOBE_BYTES:
        return payload[:_ADOBE_BYTES]
    if marker == _APP2 and payload.startswith(_ICC):
        return payload
    return b""
