"""HEIF and AVIF: ISO boxes, and the items and boxes in them that a picture does not need.

Items are found by their place in the file, so nothing can be taken out without moving the rest.
What goes is therefore overwritten with zeros: Exif and XMP items, user data of tracks, and every
top-level box that holds neither the picture nor what describes it (motion photos, previews). What
lies behind the last box is cut off. Orientation and colour are properties of the picture and stay.

Sources: ISO/IEC 14496-12 (boxes, `meta`, `iloc`, `iinf`), ISO/IEC 23008-12 (`Exif` and `mime`
items), AV1 Image File Format 1.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata import Stripped, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

_PICTURE = frozenset({b"ftyp", b"meta", b"mdat", b"moov"})
_TRACK_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf"})
_PRIVATE_ITEMS = frozenset({b"Exif", b"mime", b"uri "})
_PRIVATE_TRACK_BOXES = frozenset({b"udta", b"uuid", b"free", b"skip"})
_EMPTY_EXIF = bytes(4) + b"MM\0*\0\0\0\x08\0\0" + bytes(4)
"""An offset, and a TIFF without an entry: libavif refuses a file whose Exif item is no TIFF."""

_MAX_BOXES = 10_000
"""A phone's file has some hundred items, of which each tile of a grid is one."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


def strip(data: bytes) -> Stripped:
    """Copy a HEIF or AVIF file with its metadata overwritten; its size is the decoder's to say.

    Raises:
        InvalidImageError: the boxes do not fit the file, or describe no picture.
    """
    boxes = list(_boxes(data, 0, len(data), lenient=True))
    if not any(box.kind in {b"meta", b"moov"} for box in boxes):
        raise InvalidImageError("The image has no picture in it.")
    kept = bytearray(data[: boxes[-1].end])
    for box in boxes:
        if box.kind == b"meta":
            _wipe_items(data, kept, box)
        elif box.kind == b"moov":
            _wipe_tracks(data, kept, box)
        elif box.kind not in _PICTURE:
            kept[box.body : box.end] = bytes(box.end - box.body)
    return Stripped(bytes(kept), None, 1, len(kept), None)


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


def _wipe_items(data: bytes, kept: bytearray, meta: _Box) -> None:
    for start, end, is_exif in _private_extents(data, meta):
        kept[start:end] = bytes(end - start)
        if is_exif and end - start >= len(_EMPTY_EXIF):
            kept[start : start + len(_EMPTY_EXIF)] = _EMPTY_EXIF


def _wipe_tracks(data: bytes, kept: bytearray, box: _Box) -> None:
    for inner in _boxes(data, box.body, box.end):
        if inner.kind in _PRIVATE_TRACK_BOXES:
            kept[inner.body : inner.end] = bytes(inner.end - inner.body)
        elif inner.kind == b"meta":
            _wipe_items(data, kept, inner)
        elif inner.kind in _TRACK_CONTAINERS:
            _wipe_tracks(data, kept, inner)


def _private_extents(data: bytes, meta: _Box) -> Iterator[tuple[int, int, bool]]:
    """Yield the places of the file that items of metadata take, and whether they are Exif."""
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
                yield begin, end, private[item] == b"Exif"
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
