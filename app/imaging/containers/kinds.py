"""The kind of a TIFF or a BMP, in words: of the many that there are, decoders know some.

Sources: TIFF 6.0, sections 3 to 8; Windows BITMAPINFOHEADER and BITMAPV5HEADER.
"""

from __future__ import annotations

import struct

from app.imaging.metadata import exif

_WIDEST_LIST = 8

# Names of entries that decide whether a TIFF can be decoded, by their tags.
_ENTRIES = {
    258: "bits a sample",
    259: "compression",
    262: "photometric interpretation",
    284: "planar configuration",
    332: "ink set",
    338: "extra samples",
    339: "sample format",
}

_OLD_HEADER_BYTES, _MASKED_HEADER_BYTES = 12, 52
_BITFIELDS = 3


def of_tiff(data: bytes) -> str:
    """Return bits, compression and what else a TIFF says of its samples."""
    block = exif.parse(data)
    said = ((name, block.numbers(tag)) for tag, name in _ENTRIES.items())
    return ", ".join(
        f"{name} {'/'.join(map(str, numbers[:_WIDEST_LIST]))}" for name, numbers in said if numbers
    )


def of_bmp(data: bytes) -> str:
    """Return bits, compression and masks of a BMP; nothing where its header is not whole."""
    try:
        (header_bytes,) = struct.unpack_from("<I", data, 14)
        if header_bytes == _OLD_HEADER_BYTES:
            return f"{struct.unpack_from('<H', data, 24)[0]} bits a pixel"
        bits, compression = struct.unpack_from("<HI", data, 28)
        kind = f"{bits} bits a pixel, compression {compression}"
        if compression != _BITFIELDS:
            return kind
        masks = struct.unpack_from(
            "<4I" if header_bytes > _MASKED_HEADER_BYTES else "<3I", data, 54
        )
    except struct.error:
        return ""
    return f"{kind}, masks {', '.join(f'{mask:08x}' for mask in masks)}"
