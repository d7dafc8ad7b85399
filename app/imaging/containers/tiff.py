"""TIFF: what it says beside its picture, which is always encoded anew.

Source: TIFF 6.0; XMP part 3, 1.1.6 (packet and IPTC datasets in a TIFF).
"""

from __future__ import annotations

from app.imaging.metadata import exif
from app.imaging.metadata.metadata import Metadata, Stripped


def strip(data: bytes) -> Stripped:
    """Read a TIFF's metadata; the file stays as it is, and its size is the decoder's to say."""
    block = exif.parse(data)
    metadata = Metadata(
        block.copied(1, block.copyright_notice),
        block.xmp,
        block.iptc,
        others=block.names() - {"exif", "gps"},
        size_bytes=block.value_bytes,
    )
    return Stripped(data, None, 1, len(data), None, metadata)
