"""TIFF: its metadata; the picture is always encoded again.

Source: TIFF 6.0; XMP part 3, 1.1.6 (packet and IPTC datasets in a TIFF).
"""

from __future__ import annotations

from app.imaging.containers.tiff_directories import only_page
from app.imaging.metadata import exif
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Metadata, Stripped
from app.imaging.metadata.xmp import Packet


def strip(data: bytes) -> Stripped:
    """Copy a TIFF's only page, and read its metadata; the decoder says its size.

    Raises:
        InvalidImageError: It has several pages, or ends early.
    """
    block = exif.parse(data)
    metadata = Metadata(
        exif.parse(block.copied(1, block.copyright_notice)),
        Packet(block.xmp),
        Datasets(block.iptc),
        others=block.names() - {"exif", "gps"},
        size_bytes=block.value_bytes,
    )
    # The decoder applies the orientation of the directory, and knows nothing of XMP.
    orientation = 1 if block.named_orientation else metadata.xmp.orientation
    return Stripped(only_page(data), None, orientation, len(data), None, metadata)
