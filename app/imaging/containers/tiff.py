"""TIFF: its metadata; the picture is always encoded again.

Source: TIFF 6.0; XMP part 3, 1.1.6 (packet and IPTC datasets in a TIFF).
"""

from __future__ import annotations

from app.imaging.metadata import exif
from app.imaging.metadata.exif import QUARTER_TURNS
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Metadata, Stripped
from app.imaging.metadata.xmp import Packet


def strip(data: bytes) -> Stripped:
    """Read a TIFF's metadata; the file stays as it is, and the decoder says its size."""
    block = exif.parse(data)
    metadata = Metadata(
        exif.parse(block.copied(1, block.copyright_notice)),
        Packet(block.xmp),
        Datasets(block.iptc),
        others=block.names() - {"exif", "gps"},
        size_bytes=block.value_bytes,
    )
    resolution = block.resolution
    if resolution and block.orientation in QUARTER_TURNS:  # the decoder turns it
        resolution = resolution.turned()
    return Stripped(data, None, 1, len(data), None, metadata, resolution)
