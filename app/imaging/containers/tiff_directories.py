"""The directories of a TIFF: which of them are pages, and the entries that a page's picture needs.

Thumbnails, overviews and masks stand in directories of their own beside the page that they are of.
A decoder warns of a camera's entries as it does of those that it decodes by, so it gets the latter
alone: its warnings are then about the picture.

Sources: TIFF 6.0, sections 2 (directories), 8 (NewSubfileType, SubfileType) and 12 to 22;
Adobe TIFF Technical Note 1 (SubIFDs); ICC.1:2022, B.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from app.errors import InvalidImageError
from app.imaging.metadata.metadata import truncated

_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_HEADER_BYTES, _ENTRY_BYTES = 8, 12
_BYTE, _SHORT, _LONG, _RATIONAL = 1, 3, 4, 5
_FRACTIONS = {_RATIONAL, 10}

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _WIDTH, _ORIENTATION = 254, 255, 256, 274
_SUB_DIRECTORIES = 330

# A thumbnail or an overview; a mask. The old entry has a number for the first.
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2

# What a decoder reads: how pixels are stored, their colours, resolution, orientation. Unlike text
# of programs and cameras, that is damaged where it is odd.
_NEEDED = (
    {*range(256, 269), *range(273, 282), *range(284, 294), *range(317, 348), 433}
    | {*range(512, 533), 34_675, 50_674}
) - {_ORIENTATION, _SUB_DIRECTORIES}
# One number each, which no decoder of pixels needs: only where it is one.
_RESOLUTION = {282: _RATIONAL, 283: _RATIONAL, 296: _SHORT}

# A picture with all its overviews has some dozen, of some dozen entries. They may share bytes.
_MAX_DIRECTORIES, _MAX_ENTRIES = 1_000, 100_000


@dataclass(frozen=True, slots=True)
class _Directory:
    at: int
    entries: tuple[bytes, ...]
    order: str
    data: bytes

    def number(self, tag: int) -> int | None:
        """Return the number of an entry; None without one."""
        for entry in self.entries:
            found, kind = struct.unpack_from(f"{self.order}HH", entry)
            if found == tag:
                return self._fraction(entry) if kind in _FRACTIONS else self._whole(entry, kind)
        return None

    def _whole(self, entry: bytes, kind: int) -> int:
        form = {_BYTE: "B", _SHORT: "H"}.get(kind, "I")
        return int(struct.unpack_from(self.order + form, entry, 8)[0])

    def _fraction(self, entry: bytes) -> int | None:
        (at,) = struct.unpack_from(f"{self.order}I", entry, 8)
        above, below = struct.unpack(f"{self.order}II", self.data[at : at + 8].ljust(8, b"\0"))
        return above // below if below and above % below == 0 else None

    @property
    def is_page(self) -> bool:
        """Whether it is of a picture of its own."""
        beside = (self.number(_NEW_SUBFILE_TYPE) or 0) & (_REDUCED | _MASK)
        old = self.number(_SUBFILE_TYPE) == _OLD_REDUCED
        return self.number(_WIDTH) is not None and not beside and not old

    def packed(self) -> bytes:
        """Return the directory with the entries that its picture needs, as the last one."""
        needed = list(filter(None, map(self._needed, self.entries)))
        return struct.pack(f"{self.order}H", len(needed)) + b"".join(needed) + bytes(4)

    def _needed(self, entry: bytes) -> bytes:
        tag, kind, count = struct.unpack_from(f"{self.order}HHI", entry)
        if tag == _ORIENTATION and count == 1:
            # Some programs write another type of number, which decoders pass over.
            return struct.pack(f"{self.order}HHIHH", tag, _SHORT, 1, self.number(tag) or 1, 0)
        return entry if tag in _NEEDED or (_RESOLUTION.get(tag) == kind and count == 1) else b""


def only_page(data: bytes) -> bytes:
    """Return a TIFF of its one page, with the entries that the picture needs; the rest stays.

    Raises:
        InvalidImageError: It has several pages, or none, or a directory is not in the file.
    """
    directories = _directories(data)
    pages = [each for each in directories if each.is_page]
    if len(pages) > 1:
        raise InvalidImageError(f"The TIFF has {len(pages)} pages: send one at a time.")
    if not pages and any(each.number(_SUB_DIRECTORIES) for each in directories):
        raise InvalidImageError("The TIFF has a thumbnail alone, as cameras' raw files have.")
    # A lone picture may be called a thumbnail.
    copied, page = bytearray(data), (pages or directories)[0]
    packed = page.packed()
    struct.pack_into(f"{page.order}I", copied, 4, page.at)
    copied[page.at : page.at + len(packed)] = packed
    return bytes(copied)


def _directories(data: bytes) -> list[_Directory]:
    """Return the directories in their order, each once."""
    order = _BYTE_ORDERS[data[:2]]
    found: dict[int, _Directory] = {}
    total = 0
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        while (at or not found) and at not in found:
            (count,) = struct.unpack_from(f"{order}H", data, at)
            first, last = at + 2, at + 2 + count * _ENTRY_BYTES
            (following,) = struct.unpack_from(f"{order}I", data, last)
            total += count
            if len(found) == _MAX_DIRECTORIES or total > _MAX_ENTRIES:
                raise InvalidImageError(f"The image has over {len(found):,} directories.")
            places = range(first, last, _ENTRY_BYTES)
            entries = tuple(data[place : place + _ENTRY_BYTES] for place in places)
            found[at] = _Directory(at, entries, order, data)
            at = following
    except struct.error as error:
        raise truncated() from error
    return list(found.values())
