"""TIFF: its metadata, and the kinds of pictures that are decoded right.

The picture is always encoded again. What its entries say is compared with what Pillow supports:
it takes a signed sample for an unsigned one and inks that are not CMYK for CMYK.

Sources: TIFF 6.0, sections 3 to 22; XMP part 3, 1.1.6 (packet and IPTC datasets in a TIFF).
"""

from __future__ import annotations

import struct
from enum import IntEnum

from app.errors import InvalidImageError
from app.imaging.containers.tiff_directories import only_page
from app.imaging.metadata import exif
from app.imaging.metadata.exif import QUARTER_TURNS, Exif
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.metadata import Metadata, Stripped
from app.imaging.metadata.xmp import Packet


class _Tag(IntEnum):
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    SAMPLES = 277
    INK_SET = 332
    DOT_RANGE = 336
    SAMPLE_FORMAT = 339
    DECODE = 433


_NUMBERS = {1: "B", 3: "H", 4: "I"}

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
# Bits of a sample that each kind of colours may have.
_DEPTHS = {
    _WHITE_IS_ZERO: {1, 2, 4, 8, 16},
    _BLACK_IS_ZERO: {1, 2, 4, 8, 16},
    _RGB: {8, 16},
    _PALETTE: {1, 2, 4, 8},
    _CMYK: {8, 16},
    _YCBCR: {8},
    _LAB: {8},
}
# None, fax, LZW, JPEG, deflate, PackBits, ThunderScan, LogLuv, LZMA, Zstandard and WebP.
_COMPRESSIONS = {*range(1, 9), 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000, 50001}
_UNSIGNED, _CMYK_INKS = 1, 1


def strip(data: bytes) -> Stripped:
    """Copy a TIFF's only page, and read its metadata; the decoder says its size.

    Raises:
        InvalidImageError: It has several pages, ends early, or is of a kind that is not decoded
            right, which is named.
    """
    block = exif.parse(data)
    metadata = Metadata(
        exif.parse(block.copied(1, block.copyright_notice)),
        Packet(block.xmp),
        Datasets(block.iptc),
        others=block.names() - {"exif", "gps"},
        size_bytes=block.value_bytes,
    )
    page = only_page(data)
    _check_kind(exif.parse(page))
    # The decoder applies the orientation of the directory, and knows nothing of XMP.
    orientation = 1 if block.named_orientation else metadata.xmp.orientation
    return Stripped(
        page,
        size=None,
        orientation=orientation,
        end=len(data),
        frame_count=None,
        metadata=metadata,
        resolution=block.resolution,
        turns_itself=block.orientation in QUARTER_TURNS,
    )


def _check_kind(block: Exif) -> None:
    compression = _number(block, _Tag.COMPRESSION, 1)
    photometric = _number(block, _Tag.PHOTOMETRIC, _WHITE_IS_ZERO)
    bits = _numbers(block, _Tag.BITS, (1,))
    formats = _numbers(block, _Tag.SAMPLE_FORMAT, (_UNSIGNED,))
    if compression not in _COMPRESSIONS:
        raise _unsupported(f"the compression number {compression}")
    if photometric not in _DEPTHS:
        raise _unsupported(f"the photometric interpretation {photometric}")
    if set(formats) != {_UNSIGNED}:
        raise _unsupported(f"the sample format {', '.join(map(str, formats))}")
    if len(set(bits)) > 1 or bits[0] not in _DEPTHS[photometric]:
        named = ", ".join(map(str, bits))
        raise _unsupported(
            f"{named} bits a sample and the photometric interpretation {photometric}"
        )
    if _Tag.PHOTOMETRIC not in block.picture and bits != (1,):
        raise _unsupported("no photometric interpretation")
    if photometric == _CMYK:
        _check_inks(block, (1 << bits[0]) - 1)
    if _Tag.DECODE in block.picture:
        raise _unsupported("a decode array")


def _check_inks(block: Exif, most: int) -> None:
    ink_set = _number(block, _Tag.INK_SET, _CMYK_INKS)
    if ink_set != _CMYK_INKS:
        raise _unsupported(f"the ink set {ink_set}, which is not CMYK")
    if set(_numbers(block, _Tag.DOT_RANGE, (0, most))) != {0, most}:
        raise _unsupported("a dot range of its own")


def _unsupported(kind: str) -> InvalidImageError:
    return InvalidImageError(f"A TIFF with {kind} is not supported.")


def _number(block: Exif, tag: _Tag, default: int) -> int:
    return _numbers(block, tag, (default,))[0]


def _numbers(block: Exif, tag: _Tag, default: tuple[int, ...]) -> tuple[int, ...]:
    entry = block.picture.get(tag)
    if entry is None or entry.kind not in _NUMBERS:
        return default
    form = f"{block.byte_order}{entry.count}{_NUMBERS[entry.kind]}"
    return struct.unpack_from(form, entry.value)
