"""HEIF and AVIF: ISO boxes, and the items and boxes in them that a picture does not need.

Items are found by their place in the file, so nothing can be taken out without moving the rest.
What goes is therefore overwritten with zeros: Exif and XMP items, user data of tracks, and every
top-level box that holds neither the picture nor what describes it (motion photos, previews). What
lies behind the last box is cut off. What is to stay of EXIF and XMP is written where they lay.
Orientation and colour are properties of the picture and stay.

Sources: ISO/IEC 14496-12 (boxes, `meta`, `iloc`, `iinf`, `colr`), ISO/IEC 23008-12 (`Exif` and
`mime` items), ISO/IEC 23091-2 (colour primaries and transfer), AV1 Image File Format 1.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata import Metadata, Stripped, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

_PICTURE = frozenset({b"ftyp", b"meta", b"mdat", b"moov"})
_TRACK_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf"})
_PRIVATE_ITEMS = frozenset({b"Exif", b"mime", b"uri "})
_PRIVATE_TRACK_BOXES = frozenset({b"udta", b"uuid", b"free", b"skip"})
_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0" + bytes(4)
"""Without an entry: libavif refuses a file whose Exif item is no TIFF."""

_OFFSET_BYTES = 4
"""Before the TIFF in an Exif item: how far it is off (ISO/IEC 23008-12, A.2.1)."""

_MAX_DEPTH = 10
"""A sample's description is five boxes down."""

_MAX_BOXES = 10_000
"""A phone's file has some hundred items, of which each tile of a grid is one."""

_XMP_MARK = b"<x:xmpmeta"

_USUAL_PRIMARIES = frozenset({1, 2, 5, 6})
"""BT.709, which sRGB has too; not specified; those of standard definition, which hardly differ."""

_USUAL_TRANSFERS = frozenset({1, 2, 4, 5, 6, 13, 14, 15})
"""Those of SDR video and of sRGB."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class _Extent:
    """A place of the file that an item of metadata takes."""

    start: int
    end: int
    kind: bytes


def strip(data: bytes) -> Stripped:
    """Copy a HEIF or AVIF file with its metadata overwritten; its size is the decoder's to say.

    Raises:
        InvalidImageError: the boxes do not fit the file, or describe no picture.
    """
    boxes = list(_boxes(data, 0, len(data), lenient=True))
    if not any(box.kind in {b"meta", b"moov"} for box in boxes):
        raise InvalidImageError("The image has no picture in it.")
    metadata = Metadata()
    kept = bytearray(data[: boxes[-1].end])
    for extent in _extents(data, boxes):
        _take_note(data[extent.start : extent.end], extent.kind, metadata)
        _write(kept, extent, b"", b"")
    for box in _private_boxes(data, boxes):
        metadata.note("other", data[box.body : box.end])
        kept[box.body : box.end] = bytes(box.end - box.body)
    if len(kept) < len(data):
        metadata.others.add("trailer")
    return Stripped(bytes(kept), None, 1, len(kept), None, metadata)


def attach(data: bytes, metadata: Metadata) -> bytes:
    """Write EXIF and XMP where there was some before, as far as there is room for it."""
    if not metadata.exif and not metadata.xmp:
        return data
    written, exif, xmp = bytearray(data), metadata.exif, metadata.xmp
    for extent in _extents(data, list(_boxes(data, 0, len(data)))):
        _write(written, extent, exif, xmp)
        # Of several items of a kind it was the first that was read.
        exif = b"" if extent.kind == b"Exif" else exif
        xmp = b"" if extent.kind == b"mime" else xmp
    return bytes(written)


def _take_note(payload: bytes, kind: bytes, metadata: Metadata) -> None:
    metadata.size_bytes += len(payload)
    content = payload.strip(b"\0")
    if content == _EMPTY_TIFF.strip(b"\0"):
        return
    if kind == b"Exif" and not metadata.exif:
        metadata.exif = payload[_OFFSET_BYTES + int.from_bytes(payload[:_OFFSET_BYTES]) :]
    elif kind == b"mime" and _XMP_MARK in content and not metadata.xmp:
        metadata.xmp = content
    elif content:
        metadata.others.add("other")


def _write(kept: bytearray, extent: _Extent, exif: bytes, xmp: bytes) -> None:
    room = extent.end - extent.start
    content = b""
    if extent.kind == b"Exif":
        whole = bytes(_OFFSET_BYTES) + (exif or _EMPTY_TIFF)
        content = whole if len(whole) <= room else bytes(_OFFSET_BYTES) + _EMPTY_TIFF
    elif extent.kind == b"mime":
        content = xmp
    kept[extent.start : extent.end] = (
        content.ljust(room, b"\0") if len(content) <= room else bytes(room)
    )


def has_unusual_colours(data: bytes) -> bool:
    """Tell whether a picture says by code points that its colours are wide or of high range."""
    for meta in _boxes(data, 0, len(data), lenient=True):
        if meta.kind == b"meta":
            for box in _inner_boxes(data, meta.body + 4, meta.end, (b"iprp", b"ipco", b"colr")):
                kind, primaries, transfer = data[box.body : box.body + 4], *_code_points(data, box)
                if kind == b"nclx" and (primaries, transfer) != (0, 0):
                    return primaries not in _USUAL_PRIMARIES or transfer not in _USUAL_TRANSFERS
    return False


def _code_points(data: bytes, colr: _Box) -> tuple[int, int]:
    primaries, transfer = struct.unpack(">HH", data[colr.body + 4 : colr.body + 8].ljust(4, b"\0"))
    return primaries, transfer


def _inner_boxes(data: bytes, start: int, end: int, path: tuple[bytes, ...]) -> Iterator[_Box]:
    for box in _boxes(data, start, end):
        if box.kind == path[0] and len(path) == 1:
            yield box
        elif box.kind == path[0]:
            yield from _inner_boxes(data, box.body, box.end, path[1:])


def _inside(data: bytes, box: _Box, depth: int = 0) -> Iterator[_Box]:
    """Yield what lies in a container of tracks, and in the containers in it."""
    if depth > _MAX_DEPTH:
        raise InvalidImageError("The boxes of the image are nested too deeply.")
    for inner in _boxes(data, box.body, box.end):
        yield inner
        if inner.kind in _TRACK_CONTAINERS:
            yield from _inside(data, inner, depth + 1)


def _private_boxes(data: bytes, boxes: list[_Box]) -> Iterator[_Box]:
    for box in boxes:
        if box.kind == b"moov":
            yield from (each for each in _inside(data, box) if each.kind in _PRIVATE_TRACK_BOXES)
        elif box.kind not in _PICTURE:
            yield box


def _extents(data: bytes, boxes: list[_Box]) -> Iterator[_Extent]:
    for box in boxes:
        inside = _inside(data, box) if box.kind == b"moov" else ()
        for meta in (each for each in (box, *inside) if each.kind == b"meta"):
            yield from _item_extents(data, meta)


def _boxes(data: bytes, start: int, end: int, *, lenient: bool = False) -> Iterator[_Box]:
    """Yield the boxes from `start` to `end`; what follows the last whole one may be no box at all.

    Raises:
        InvalidImageError: a box of a picture reaches beyond the end, or there are too many.
    """
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            if body + 8 > end:
                raise truncated()
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:
            size = end - start
        if start + size > end or size < body - start:
            if lenient and kind not in _PICTURE:
                return
            raise truncated()
        yield _Box(kind, start, body, start + size)
        start += size
    raise InvalidImageError(f"The image has over {_MAX_BOXES:,} boxes.")


def _item_extents(data: bytes, meta: _Box) -> Iterator[_Extent]:
    """Yield the places of the file that items of metadata take."""
    try:
        # A full box: version and flags precede its boxes.
        inner = {box.kind: box for box in _boxes(data, meta.body + 4, meta.end)}
        if b"iinf" not in inner or b"iloc" not in inner:
            raise InvalidImageError("The image does not say where its parts are.")
        private = dict(_private_items(data, inner[b"iinf"]))
        item_data = inner.get(b"idat")
        for item, construction, start, length in _locations(data, inner[b"iloc"]):
            if item in private:
                begin = start + (item_data.body if construction == 1 and item_data else 0)
                end = begin + length if length else len(data)
                if construction > 1 or not begin <= end <= len(data):
                    raise InvalidImageError("The metadata of the image cannot be found.")
                yield _Extent(begin, end, private[item])
    except struct.error as error:
        raise truncated() from error


def _private_items(data: bytes, iinf: _Box) -> Iterator[tuple[int, bytes]]:
    version = data[iinf.body]
    first = iinf.body + (6 if version == 0 else 8)
    for entry in _boxes(data, first, iinf.end):
        entry_version = data[entry.body]
        if entry_version < 2:  # noqa: PLR2004  # before item types there were only MIME items
            yield struct.unpack_from(">H", data, entry.body + 4)[0], b"mime"
            continue
        wide = entry_version > 2  # noqa: PLR2004
        (item,) = struct.unpack_from(">I" if wide else ">H", data, entry.body + 4)
        kind_at = entry.body + 4 + (4 if wide else 2) + 2
        kind = data[kind_at : kind_at + 4]
        if kind in _PRIVATE_ITEMS:
            yield item, kind


class _Reader:
    """Reads big-endian numbers of the sizes that `iloc` names, one after the other."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self._data = data
        self._at = at
        self._end = end

    def number(self, size: int) -> int:
        if self._at + size > self._end:
            raise truncated()
        value = int.from_bytes(self._data[self._at : self._at + size])
        self._at += size
        return value


def _locations(data: bytes, iloc: _Box) -> Iterator[tuple[int, int, int, int]]:
    """Yield item, construction method, start and length of each extent."""
    version = data[iloc.body]
    read = _Reader(data, iloc.body + 4, iloc.end)
    sizes = read.number(2)
    offset_size, length_size, base_size, index_size = (
        sizes >> shift & 15 for shift in (12, 8, 4, 0)
    )
    wide = version > 1
    for _ in range(read.number(4 if wide else 2)):
        item = read.number(4 if wide else 2)
        construction = read.number(2) & 15 if version > 0 else 0
        read.number(2)  # which file it lies in: this one
        base = read.number(base_size)
        for _ in range(read.number(2)):
            if version > 0:
                read.number(index_size)
            start = base + read.number(offset_size)
            yield item, construction, start, read.number(length_size)
