"""The marker segments of a JPEG: where each begins and ends, and what a new one looks like.

Hides the bytes between segments: stray ones before a marker, and those of a scan, which ends at the
first marker that is none of its own.

Source: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata.metadata import truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

SOI, EOI, SOS, _JPG = 0xD8, 0xD9, 0xDA, 0xC8
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, _JPG, 0xCC}
# Of those that a decoder needs, all but the APPn.
STRUCTURE = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xE0)}) - {_JPG}

# A segment's length has 16 bits and counts itself.
MAX_PAYLOAD_BYTES = 65_533
# The marker and the length.
HEADER_BYTES = 4

# A marker that ends a scan: not a stuffed zero, a fill byte or a restart (T.81, B.1.1.5), and none
# of the reserved codes below 0xC0, which damage puts into scans and libjpeg passes over.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")

# A camera's file has dozens, the finest progressive one some hundreds; four million empty ones
# took 8.5 s to copy.
_MAX_SEGMENTS = 10_000


def segments(data: bytes) -> Iterator[tuple[int, bytes, bytes, int]]:
    """Yield each segment's marker, payload and entropy-coded bytes, and where it ends.

    Raises:
        InvalidImageError: One reaches beyond the file, or the next is missing.
    """
    position = 2
    for _ in range(_MAX_SEGMENTS):
        # Stray bytes before a marker are passed over, as decoders do.
        position = _next_marker(data, position) + 2
        marker = data[position - 1]
        if marker == EOI:
            yield marker, b"", b"", position
            return
        if marker == SOI:
            raise InvalidImageError("The image begins a second time before it ends.")
        end = position + int.from_bytes(data[position : position + 2])
        if not position + 2 <= end <= len(data):
            raise truncated()
        scan_end = _scan_end(data, end) if marker == SOS else end
        yield marker, data[position + 2 : end], data[end:scan_end], scan_end
        if marker == SOS and not _MARKER.match(data, scan_end):
            return
        position = scan_end
    raise InvalidImageError(f"The image has over {_MAX_SEGMENTS:,} segments.")


def _scan_end(data: bytes, position: int) -> int:
    found = _MARKER.search(data, position)
    return found.start() if found else len(data.rstrip(b"\xff"))


def _next_marker(data: bytes, position: int) -> int:
    found = _MARKER.search(data, position)
    if found is None:
        raise truncated()
    return found.start()


def segment(marker: int, payload: bytes) -> bytes:
    """Return a segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
