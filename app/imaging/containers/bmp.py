"""BMP: its header, and pictures of kinds that Pillow does not read right.

Hides the versions of the header, the places of the palette, the masks and the colour profile, and
run-length encoding.

Sources: Microsoft Learn, BITMAPINFOHEADER, BITMAPV4HEADER, BITMAPV5HEADER, Bitmap Compression;
OS/2 BITMAPINFOHEADER2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata.metadata import Metadata, Stripped, truncated
from app.imaging.metadata.resolution import Resolution

if TYPE_CHECKING:
    from collections.abc import Sequence

_FILE_HEADER_BYTES = 14
_CORE, _INFO, _OS2 = 12, 40, 64
# Of OS/2 any length from 16 to 64 exists; these are written.
_HEADERS = frozenset({_CORE, 16, _INFO, 52, 56, _OS2, 108, 124})
_V3, _V5 = 56, 124

_RGB, RLE8, RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_COMPRESSIONS = {4: "JPEG", 5: "PNG"}
_OS2_COMPRESSIONS = {3: "Huffman", 4: "24-bit run-length"}
_EMBEDDED = b"DEBM"

_PALETTE_BITS, _MASKED_BITS = frozenset({1, 2, 4, 8}), frozenset({16, 32})
_DEPTHS = _PALETTE_BITS | _MASKED_BITS | {24}
_RLE_BITS = {RLE8: 8, RLE4: 4}
_NO_MASKS = (0, 0, 0, 0)
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_IMPLIED_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0xFF000000)}
_BYTE, _BYTEWISE_BITS = 0xFF, 32


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of a header.

    Args:
        size: `(width, height)`.
        is_top_down: Whether the first row is the upper one.
        bits: Bits of a pixel: 1, 2, 4, 8, 16, 24 or 32.
        compression: `RLE8` or `RLE4`; anything else is none.
        offset: Where the pixels begin.
        palette: Colours in the order blue, green, red, with or without a fourth byte.
        masks: Of red, green, blue and alpha, of 16 and 32 bits.
        per_metre: Pixels a metre, across and down; 0 where it is not said.
        icc_profile: The colour profile; empty where there is none.
    """

    size: tuple[int, int]
    is_top_down: bool
    bits: int
    compression: int
    offset: int
    palette: tuple[bytes, ...]
    masks: tuple[int, int, int, int]
    per_metre: tuple[int, int]
    icc_profile: bytes

    @property
    def stride(self) -> int:
        """Bytes of a row, which ends on four bytes."""
        return (self.size[0] * self.bits + 31) // 32 * 4


def strip(data: bytes) -> Stripped:
    """Read the header; the file stays as it is, and is always encoded again.

    Raises:
        InvalidImageError: It is of a kind that is not decoded, which is named.
    """
    layout = layout_of(data)
    metadata = Metadata(size_bytes=len(layout.icc_profile))
    resolution = Resolution.of_metres(*layout.per_metre, is_absolute=True)
    return Stripped(data, None, 1, len(data), None, metadata, resolution)


def layout_of(data: bytes) -> Layout:
    """Read the header, the palette and the colour profile; raises as `strip` does."""
    if len(data) < _FILE_HEADER_BYTES + _CORE:
        raise truncated()
    offset, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes not in _HEADERS:
        raise InvalidImageError(f"A BMP with a header of {header_bytes} bytes is not supported.")
    end = _FILE_HEADER_BYTES + header_bytes
    # What a short header leaves out is zero.
    header = data[_FILE_HEADER_BYTES:end].ljust(_V5, b"\0")
    if end > len(data):
        raise truncated()
    if header_bytes == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", header, 4)
        compression, across, down, colours = _RGB, 0, 0, 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", header, 4)
        across, down, colours = struct.unpack_from("<III", header, 24)
    _check_kind(header_bytes, bits, compression)
    masks, end = _masks(data, end, header, header_bytes, bits, compression)
    entry = 3 if header_bytes == _CORE else 4
    palette_bytes = entry * min(colours or 1 << bits, 256) if bits in _PALETTE_BITS else 0
    # Some writers name the place of the palette, and not of the pixels after it.
    if offset <= end:
        offset = end + palette_bytes
    palette = data[end : min(end + palette_bytes, offset)]
    return Layout(
        size=(width, abs(height)),
        is_top_down=height < 0,
        bits=bits,
        compression=compression,
        offset=offset,
        palette=tuple(palette[at : at + 3] for at in range(0, len(palette) - 2, entry)),
        masks=masks,
        per_metre=(across, down),
        icc_profile=_profile(data, header, header_bytes),
    )


def _check_kind(header_bytes: int, bits: int, compression: int) -> None:
    names = _COMPRESSIONS | (_OS2_COMPRESSIONS if header_bytes == _OS2 else {})
    known = {_RGB, RLE8, RLE4, _BITFIELDS, _ALPHA_BITFIELDS}
    if name := names.get(compression, None if compression in known else f"number {compression}"):
        raise InvalidImageError(f"A BMP with the compression {name} is not supported.")
    if bits not in _DEPTHS or bits != _RLE_BITS.get(compression, bits):
        raise InvalidImageError(
            f"A BMP with {bits} bits a pixel and the compression number {compression} is not"
            " supported."
        )


def _masks(
    data: bytes, end: int, header: bytes, header_bytes: int, bits: int, compression: int
) -> tuple[tuple[int, int, int, int], int]:
    """Return the masks of the colours, and where they end if they stand after the header."""
    count = {_BITFIELDS: 3, _ALPHA_BITFIELDS: 4}.get(compression, 0)
    if not count or bits not in _MASKED_BITS:
        return _DEFAULT_MASKS.get(bits, _NO_MASKS), end
    if header_bytes == _INFO:
        masks = struct.unpack_from("<4I", data[end : end + 4 * count].ljust(16, b"\0"))
        end += 4 * count
    else:
        masks = struct.unpack_from("<4I", header, 40)
    if masks == _NO_MASKS:
        # All zero is what programs write that mean the usual order.
        return _IMPLIED_MASKS[bits], end
    if not all(_is_supported(mask, bits) for mask in masks):
        named = ", ".join(f"{mask:08X}" for mask in masks)
        raise InvalidImageError(f"A BMP of {bits} bits with the masks {named} is not supported.")
    return (masks[0], masks[1], masks[2], masks[3]), end


def _is_supported(mask: int, bits: int) -> bool:
    """Tell whether the bits of a mask stand side by side and, of 32, are those of a byte."""
    low = _shift(mask)
    highest = mask >> low
    if bits == _BYTEWISE_BITS:
        return highest in {0, _BYTE} and low % 8 == 0
    return highest & (highest + 1) == 0 and mask < 1 << bits


def _shift(mask: int) -> int:
    return (mask & -mask).bit_length() - 1 if mask else 0


def _profile(data: bytes, header: bytes, header_bytes: int) -> bytes:
    if header_bytes < _V5 or header[56:60] != _EMBEDDED:
        return b""
    start, length = struct.unpack_from("<II", header, 112)
    start += _FILE_HEADER_BYTES
    if start + length > len(data):
        raise truncated()
    return data[start : start + length]


def samples(mask: int) -> list[int]:
    """Return the 8-bit sample of each 16-bit pixel under a mask."""
    most = mask >> _shift(mask)
    shift = _shift(mask)
    return [
        (((pixel & mask) >> shift) * 255 + most // 2) // most if most else 0
        for pixel in range(1 << 16)
    ]


def byte_order(masks: Sequence[int]) -> str:
    """Return the order of the bytes of a 32-bit pixel, as a raw mode of Pillow has it."""
    order = ["X"] * 4
    for letter, mask in zip("RGBA", masks, strict=True):
        if mask:
            order[_shift(mask) // 8] = letter
    return "".join(order)


def unpacked(data: bytes, layout: Layout) -> bytes:
    """Return the rows of a run-length encoded picture, a byte a pixel, in the file's order.

    Pixels that are left out have the first colour.

    Raises:
        InvalidImageError: The data end before the picture does.
    """
    width, height = layout.size
    is_four_bits = layout.compression == RLE4
    rows, x, y, at = bytearray(width * height), 0, 0, layout.offset
    while y < height:
        if at + 2 > len(data):
            if (x, y) == (width, height - 1):  # only the mark of the end is missing
                break
            raise truncated()
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = bytes((value >> 4, value & 15)) * 128 if is_four_bits else bytes((value,)) * 256
        elif value == 0:
            x, y = 0, y + 1
            continue
        elif value == 1:
            break
        elif value == 2:  # noqa: PLR2004 - a move; the other codes are counts
            x, y = x + data[at], y + data[at + 1]
            at += 2
            continue
        else:
            count = value
            length = (count + 1) // 2 if is_four_bits else count
            run = data[at : at + length]
            if len(run) < length:
                raise truncated()
            if is_four_bits:
                run = bytes(nibble for byte in run for nibble in (byte >> 4, byte & 15))
            at += length + length % 2
        shown = max(min(count, width - x), 0)
        rows[y * width + x : y * width + x + shown] = run[:shown]
        x += count
    return bytes(rows)
