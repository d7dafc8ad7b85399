"""HEIF and AVIF: the properties of a picture, as its item and as the frames of a track.

Hides where they stand: those of an item in `iprp`, those of frames in the description of their
samples.

Sources: ISO/IEC 14496-12 (`colr`, `clap`, `pasp`, visual sample entries), ISO/IEC 23008-12
(`ispe`, `irot`), ISO/IEC 23091-2 (colour primaries and transfer).
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING

from app.imaging.containers.isobmff import (
    Box,
    boxes,
    children,
    inside,
    primary_item,
    properties,
    sample_properties,
)
from app.imaging.metadata.resolution import Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

# Numerators and denominators: width, height, and how far the centre is off, right and down.
_APERTURE = struct.Struct(">IIIIiIiI")
_ASPECT = struct.Struct(">II")
_SPATIAL_EXTENTS_BYTES = 12

# BT.709, which sRGB has too; not specified; those of standard definition, which hardly differ.
_USUAL_PRIMARIES = frozenset({1, 2, 5, 6})

# Those of SDR video and of sRGB.
_USUAL_TRANSFERS = frozenset({1, 2, 4, 5, 6, 13, 14, 15})

_HDR_TRANSFERS = frozenset({16, 18})


def aperture(
    data: bytes, size: tuple[int, int], *, is_still: bool
) -> tuple[int, int, int, int] | None:
    """Return the part of a picture of this size that viewers show, left, top, right and bottom.

    None where that is all of it, and where it is no whole pixels inside it, as viewers ignore it
    then (ISO/IEC 14496-12, 12.1.4, clean aperture).
    """
    top = list(boxes(data, 0, len(data)))
    for each in _of_item(data) if is_still else _of_frames(data, top):
        if each.kind == b"clap" and each.end - each.body >= _APERTURE.size:
            return _part(_APERTURE.unpack_from(data, each.body), size)
    return None


def _part(numbers: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    if not all(numbers[1::2]):
        return None
    width, height, across, down = map(Fraction, numbers[::2], numbers[1::2])
    left, top = across + (size[0] - width) / 2, down + (size[1] - height) / 2
    part = (left, top, left + width, top + height)
    is_whole = all(each.denominator == 1 for each in part)
    is_inside = 0 <= left < part[2] <= size[0] and 0 <= top < part[3] <= size[1]
    if not is_whole or not is_inside:
        return None
    return int(part[0]), int(part[1]), int(part[2]), int(part[3])


def shape_of_pixels(data: bytes) -> Resolution | None:
    """Return the density that stored pixels have by their shape (12.1.4.1, pixel aspect ratio)."""
    for each in _of_item(data):
        if each.kind == b"pasp" and each.end - each.body >= _ASPECT.size:
            width, height = _ASPECT.unpack_from(data, each.body)
            return Resolution.of(height, width, 0)
    return None


def is_turned(data: bytes) -> bool:
    """Tell whether the picture is shown turned by a quarter (ISO/IEC 23008-12, 6.5.10)."""
    turns = (data[each.body] for each in _of_item(data) if each.kind == b"irot")
    return sum(turns) % 2 == 1


def has_unusual_colours(data: bytes, *, has_profile: bool) -> bool:
    """Tell whether a picture says by code points that its colours are wide or of high range.

    Other formats can hold a colour profile, but not these code points for HDR.
    """
    for meta in metas(data, list(boxes(data, 0, len(data)))):
        for colr in _described(data, meta, b"colr"):
            kind, primaries, transfer = struct.unpack(
                ">4sHH", data[colr.body : colr.body + 8].ljust(8, b"\0")
            )
            if kind == b"nclx" and (
                transfer in _HDR_TRANSFERS
                if has_profile
                else primaries not in _USUAL_PRIMARIES or transfer not in _USUAL_TRANSFERS
            ):
                return True
    return False


def profiles(data: bytes, top: list[Box]) -> Iterator[slice]:
    """Yield where the colour profiles of pictures and of frames are."""
    of_items = (each for meta in metas(data, top) for each in _described(data, meta, b"colr"))
    for each in (*of_items, *_of_frames(data, top)):
        if each.kind == b"colr" and data[each.body : each.body + 4] in {b"prof", b"rICC"}:
            yield slice(each.body + 4, each.end)


def sizes(data: bytes, top: list[Box]) -> Iterator[tuple[int, int]]:
    """Yield the sizes that pictures have by their descriptions (ISO/IEC 23008-12, 6.5.3)."""
    for meta in metas(data, top):
        for ispe in _described(data, meta, b"ispe"):
            if ispe.end - ispe.body >= _SPATIAL_EXTENTS_BYTES:
                width, height = struct.unpack_from(">II", data, ispe.body + 4)
                yield width, height


def metas(data: bytes, top: list[Box]) -> Iterator[Box]:
    """Yield the boxes that describe items: of the file, and of its tracks."""
    for box in top:
        inner = inside(data, box) if box.kind == b"moov" else ()
        yield from (each for each in (box, *inner) if each.kind == b"meta")


def _of_item(data: bytes) -> Iterator[Box]:
    """Yield the properties of the item that a viewer shows."""
    for box in boxes(data, 0, len(data)):
        if box.kind == b"meta":
            yield from properties(data, box, primary_item(data, box))


def _of_frames(data: bytes, top: list[Box]) -> Iterator[Box]:
    """Yield the properties of the frames of all tracks."""
    for box in top:
        if box.kind == b"moov":
            yield from sample_properties(data, box)


def _described(data: bytes, meta: Box, kind: bytes) -> Iterator[Box]:
    """Yield the properties of a kind that any item has."""
    iprp = children(data, meta).get(b"iprp")
    for box in boxes(data, iprp.body, iprp.end) if iprp else ():
        if box.kind == b"ipco":
            yield from (each for each in boxes(data, box.body, box.end) if each.kind == kind)
