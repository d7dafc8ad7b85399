"""What stays of an image's container once its metadata is gone, and the one EXIF tag that matters.

The four container modules (`jpeg`, `png`, `webp`, `gif`) each copy, from an allow-list, the parts
that decide how the picture looks, and nothing else: EXIF, GPS, XMP, IPTC, comments, thumbnails,
secondary images and whatever follows the end of the image are not copied. No pixel is re-encoded.
The decoder then sees only what was copied, so what is stored is what was checked.

Sources: EXIF 2.32 (CIPA DC-008), 4.5 and 4.6.4 A; TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from app.errors import InvalidImageError

ORIENTATION_TAG = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12


@dataclass(frozen=True, slots=True)
class Stripped:
    """A container without its metadata.

    Args:
        data: a complete file; it names the orientation in a minimal EXIF block when that is not 1.
        size: `(width, height)` as stored, *before* orientation; None where the decoder says it.
        orientation: 1 to 8, as EXIF has it.
        end: where the picture ended in the upload; what follows it is no part of it.
        frame_count: frames that a viewer shows; None where the decoder says it.
    """

    data: bytes
    size: tuple[int, int] | None
    orientation: int
    end: int
    frame_count: int | None = 1


def truncated() -> InvalidImageError:
    """Return the error for a file that ends before its container says so."""
    return InvalidImageError("The image is truncated.")


def read_orientation(tiff: bytes) -> int:
    """Return the orientation in an EXIF block, or 1 where it names none that exists.

    Args:
        tiff: EXIF without the `Exif` prefix. A broken block does not make a picture unreadable,
            so nothing here raises.
    """
    byte_order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if byte_order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{byte_order}I", tiff, 4)
        (entry_count,) = struct.unpack_from(f"{byte_order}H", tiff, directory)
        for number in range(entry_count):
            entry = struct.unpack_from(
                f"{byte_order}HHIH", tiff, directory + 2 + number * _ENTRY_BYTES
            )
            if entry[:3] == (ORIENTATION_TAG, _SHORT, 1):
                return entry[3] if entry[3] in range(1, 9) else 1
    except struct.error:
        pass
    return 1


def orientation_exif(orientation: int) -> bytes:
    """Return the smallest EXIF block that names an orientation, without the `Exif` prefix."""
    header = struct.pack(">2sHI", b"MM", 42, 8)
    return header + struct.pack(">HHHIHHI", 1, ORIENTATION_TAG, _SHORT, 1, orientation, 0, 0)
