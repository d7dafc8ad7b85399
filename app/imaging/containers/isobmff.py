"""ISO base media files: boxes, and the items of a `meta` box with their places in the file.

Hides the layout of HEIF and AVIF. Everything is bounded: boxes, their depth, extents, and the
sum of the bytes that those name.

Sources: ISO/IEC 14496-12 (boxes, `meta`, `iinf`, `iloc`, `iref`, `idat`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata.metadata import truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

# A phone's file has some hundred items, of which each tile of a grid is one.
_MAX_BOXES = 10_000

_MAX_EXTENTS = 10_000

# A sample's description is five boxes down.
_MAX_DEPTH = 10

_TRACK_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf"})
_HEADER_BYTES, _FULL_BOX_BYTES = 8, 4

# Before the first description of samples, and before the boxes in one of pictures.
_STSD_BYTES, _VISUAL_ENTRY_BYTES = 8, 78

# Construction methods of `iloc`.
_IN_FILE, _IN_IDAT = 0, 1


@dataclass(frozen=True, slots=True)
class Box:
    """A box, by positions in the file: its body is from `body` to `end`."""

    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Item:
    """An item: its type, its extents in the file, and its entry in `iinf`."""

    number: int
    kind: bytes
    extents: tuple[tuple[int, int], ...]
    entry: Box


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference: its box, whose kind says what for, and the items that it is from and to."""

    box: Box
    origin: int
    targets: tuple[int, ...]


def boxes(
    data: bytes, start: int, end: int, *, needed: frozenset[bytes] | None = None
) -> Iterator[Box]:
    """Yield the boxes from `start` to `end`.

    Args:
        data: The file.
        start: Where the first box begins.
        end: Where the last one has to end.
        needed: Kinds of boxes that must be whole; by default all. Bytes after the last whole box
            are ignored unless they name one of these kinds.

    Raises:
        InvalidImageError: A box reaches beyond the end, or there are too many.
    """
    for _ in range(_MAX_BOXES):
        if start + _HEADER_BYTES > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + _HEADER_BYTES
        if size == 1:
            if body + 8 > end:
                raise truncated()
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        elif size == 0:
            size = end - start
        if start + size > end or size < body - start:
            if needed is not None and kind not in needed:
                return
            raise truncated()
        yield Box(kind, start, body, start + size)
        start += size
    raise InvalidImageError(f"The image has over {_MAX_BOXES:,} boxes.")


def inside(data: bytes, box: Box, depth: int = 0) -> Iterator[Box]:
    """Yield the boxes in a container of tracks, and in the containers in it."""
    if depth > _MAX_DEPTH:
        raise InvalidImageError("The boxes of the image are nested too deeply.")
    for inner in boxes(data, box.body, box.end):
        yield inner
        if inner.kind in _TRACK_CONTAINERS:
            yield from inside(data, inner, depth + 1)


def sample_properties(data: bytes, moov: Box) -> Iterator[Box]:
    """Yield the boxes in the descriptions of the samples of all tracks (12.1.3, 8.5.2).

    Of a description that is not of pictures, and has other fields, nothing has to make sense.
    """
    anything: frozenset[bytes] = frozenset()
    for box in inside(data, moov):
        if box.kind == b"stsd":
            for entry in boxes(data, box.body + _STSD_BYTES, box.end, needed=anything):
                start = entry.body + _VISUAL_ENTRY_BYTES
                yield from boxes(data, start, entry.end, needed=anything)


def children(data: bytes, meta: Box) -> dict[bytes, Box]:
    """Return the boxes of a `meta` box by kind; it is a full box, version and flags come first."""
    return {box.kind: box for box in boxes(data, meta.body + _FULL_BOX_BYTES, meta.end)}


def items(data: bytes, meta: Box, *, sharing: frozenset[bytes]) -> list[Item]:
    """Return the items of a `meta` box.

    Args:
        data: The file.
        meta: The box.
        sharing: Kinds of items that may share their bytes, as equal tiles do: each place counts
            once, and has to be read once only.

    Raises:
        InvalidImageError: Their places are not in the file, or cannot be found.
    """
    inner = children(data, meta)
    if b"iinf" not in inner or b"iloc" not in inner:
        raise InvalidImageError("The image does not say where its parts are.")
    places: dict[int, list[tuple[int, int]]] = {}
    count = 0
    try:
        for number, extent in _extents(data, inner[b"iloc"], inner.get(b"idat")):
            places.setdefault(number, []).append(extent)
            count += 1
            if count > _MAX_EXTENTS:
                raise _too_many()
        found = [
            Item(number, kind, tuple(places.get(number, ())), entry)
            for number, kind, entry in _entries(data, inner[b"iinf"])
        ]
    except struct.error as error:
        raise truncated() from error
    shared = {extent for item in found if item.kind in sharing for extent in item.extents}
    alone = [extent for item in found if item.kind not in sharing for extent in item.extents]
    # Some files name a place twice, for two identical items.
    if sum(end - start for start, end in (*shared, *alone)) > 2 * len(data):
        raise _too_many()
    return found


def _too_many() -> InvalidImageError:
    return InvalidImageError("The image has too many parts.")


def properties(data: bytes, meta: Box, number: int) -> Iterator[Box]:
    """Yield the properties of an item (ISO/IEC 23008-12, 9.3)."""
    iprp = children(data, meta).get(b"iprp")
    inner = list(boxes(data, iprp.body, iprp.end)) if iprp else []
    known = [
        each for box in inner if box.kind == b"ipco" for each in boxes(data, box.body, box.end)
    ]
    for box in inner:
        if box.kind != b"ipma":
            continue
        read = _Reader(data, box.body, box.end)
        version, flags = read.number(1), read.number(3)
        size, bits = (2, 15) if flags & 1 else (1, 7)
        for _ in range(read.number(4)):
            item = read.number(4 if version else 2)
            indices = [read.number(size) & (1 << bits) - 1 for _ in range(read.number(1))]
            if item == number:
                yield from (known[index - 1] for index in indices if 0 < index <= len(known))


def references(data: bytes, meta: Box) -> Iterator[Reference]:
    """Yield each reference of a `meta` box."""
    iref = children(data, meta).get(b"iref")
    if iref is None:
        return
    size = 4 if data[iref.body] else 2
    for box in boxes(data, iref.body + _FULL_BOX_BYTES, iref.end):
        read = _Reader(data, box.body, box.end)
        origin, count = read.number(size), read.number(2)
        yield Reference(box, origin, tuple(read.number(size) for _ in range(count)))


def primary_item(data: bytes, meta: Box) -> int:
    """Return the number of the item that a viewer shows; 0 where none is named."""
    pitm = children(data, meta).get(b"pitm")
    if pitm is None:
        return 0
    read = _Reader(data, pitm.body + _FULL_BOX_BYTES, pitm.end)
    return read.number(4 if data[pitm.body] else 2)


def _entries(data: bytes, iinf: Box) -> Iterator[tuple[int, bytes, Box]]:
    first = iinf.body + _FULL_BOX_BYTES + (2 if data[iinf.body] == 0 else 4)
    for entry in boxes(data, first, iinf.end):
        version = data[entry.body]
        if version < 2:  # noqa: PLR2004  # before item types there were only MIME items
            (number,) = struct.unpack_from(">H", data, entry.body + _FULL_BOX_BYTES)
            yield number, b"mime", entry
            continue
        form = ">H2x4s" if version == 2 else ">I2x4s"  # noqa: PLR2004
        number, kind = struct.unpack_from(form, data, entry.body + _FULL_BOX_BYTES)
        yield number, kind, entry


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


def _extents(data: bytes, iloc: Box, idat: Box | None) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the number of an item, and the begin and end of an extent of it in the file."""
    version = data[iloc.body]
    read = _Reader(data, iloc.body + _FULL_BOX_BYTES, iloc.end)
    sizes = read.number(2)
    offset_size, length_size, base_size, index_size = (
        sizes >> shift & 15 for shift in (12, 8, 4, 0)
    )
    wide = version > 1
    for _ in range(read.number(4 if wide else 2)):
        number = read.number(4 if wide else 2)
        construction = read.number(2) & 15 if version > 0 else _IN_FILE
        read.number(2)  # the file that holds it: this one
        base = read.number(base_size)
        count = read.number(2)
        if count > 1 and not length_size:
            raise InvalidImageError("The parts of the image cannot be told apart.")
        origin, end_of_all = 0, len(data)
        if construction == _IN_IDAT and idat:
            origin, end_of_all = idat.body, idat.end
        for _ in range(count):
            if version > 0:
                read.number(index_size)
            start = origin + base + read.number(offset_size)
            length = read.number(length_size)
            end = start + length if length or count > 1 else end_of_all
            if construction > _IN_IDAT or not start <= end <= end_of_all:
                raise InvalidImageError("A part of the image cannot be found.")
            yield number, (start, end)
