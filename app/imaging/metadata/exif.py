"""EXIF: a camera's TIFF block, and the entries of it that may go on with a picture.

Three directories are read: of the picture, the camera and GPS. A new block is written from the
chosen entries and nothing else. Slack, a preview and the camera maker's notes are never copied: any
of them may repeat the location. A broken block does not make a picture unreadable, so nothing here
raises.

Sources: EXIF 2.32 (CIPA DC-008), 4.5 and 4.6; TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum

from app.imaging.metadata.resolution import Resolution

_SHORT, _ASCII, _LONG, _RATIONAL = 3, 2, 4, 5
# Whole numbers: programs write them in any of these types.
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_ENTRY_BYTES, _INLINE_BYTES = 12, 4
_MAX_NOTICE_CHARACTERS = 1000
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


# Orientations that swap width and height (EXIF 2.32, 4.6.4 A).
QUARTER_TURNS = range(5, 9)


class _Tag(IntEnum):
    ORIENTATION = 0x0112
    ACROSS = 0x011A
    DOWN = 0x011B
    UNIT = 0x0128
    XMP = 0x02BC
    THUMBNAIL = 0x0201
    COPYRIGHT = 0x8298
    IPTC = 0x83BB
    CAMERA = 0x8769
    GPS = 0x8825
    MAKER_NOTE = 0x927C
    USER_COMMENT = 0x9286
    WIDTH = 0xA002
    HEIGHT = 0xA003


# How a TIFF stores its pixels (TIFF 6.0, sections 8 to 21): says nothing of the picture.
_STRUCTURE = frozenset({*range(254, 269), *range(273, 282), *range(284, 294), *range(317, 348)})

_SAID_ELSEWHERE = frozenset(
    {_Tag.ORIENTATION, _Tag.XMP, _Tag.COPYRIGHT, _Tag.IPTC, _Tag.CAMERA, _Tag.GPS}
)

# Entries that have a name of their own in a receipt, or change with the picture.
_NAMED = frozenset(_Tag) - {_Tag.ACROSS, _Tag.DOWN, _Tag.UNIT}

# Descriptions, camera, resolution, software, date, artist, sampling; ratings, title and author as
# Windows has them, not its comments and keywords.
_PICTURE_TAGS = frozenset(
    {*range(0x010D, 0x0111), 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C}
    | {0x0213, 0x4746, 0x4749, 0x9C9B, 0x9C9D}
)

# EXIF 2.32, 4.6.5, without the maker's notes and entries that point elsewhere.
_CAMERA_TAGS = frozenset(
    {0x829A, 0x829D, *range(0x8822, 0x8836), *range(0x9000, 0x9406), *range(0xA000, 0xA501)}
    - {0x8825, 0x927C, 0xA005}
)


# Of the body and the lens: they tie pictures together, and to a person.
_SERIAL_NUMBERS = (0xA431, 0xA435)


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    value: bytes
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Exif:
    """A block and the entries of its directories, by tag.

    `end` is the position after the picture's entries, where the offset of the next directory is
    stored. A block that cannot be read `is_broken`.
    """

    data: bytes = b""
    byte_order: str = ">"
    picture: dict[int, _Entry] = field(default_factory=dict)
    camera: dict[int, _Entry] = field(default_factory=dict)
    gps: dict[int, _Entry] = field(default_factory=dict)
    has_thumbnail: bool = False
    end: int = 0
    is_broken: bool = False

    @property
    def orientation(self) -> int:
        """The orientation, from 1 to 8; 1 where the block names none that exists."""
        return self.named_orientation or 1

    @property
    def named_orientation(self) -> int | None:
        """The orientation that the block names; None where it names none that exists."""
        numbers = self.numbers(_Tag.ORIENTATION)
        return numbers[0] if len(numbers) == 1 and numbers[0] in range(1, 9) else None

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the whole numbers of an entry of the picture; nothing without one."""
        entry = self.picture.get(tag)
        if entry is None or (letter := _NUMBERS.get(entry.kind)) is None:
            return ()
        return struct.unpack(f"{self.byte_order}{entry.count}{letter}", entry.value)

    @property
    def resolution(self) -> Resolution | None:
        """The density of the pixels; None where the block does not say it."""
        across, down = (self._rational(tag) for tag in (_Tag.ACROSS, _Tag.DOWN))
        unit, entry = 2, self.picture.get(_Tag.UNIT)
        if entry and (entry.kind, entry.count) == (_SHORT, 1):
            (unit,) = struct.unpack(f"{self.byte_order}H", entry.value)
        return Resolution.of(across, down, unit - 1)

    def _rational(self, tag: int) -> float:
        entry = self.picture.get(tag)
        # Some writers store two numbers, of which the first is meant.
        if entry is None or entry.kind != _RATIONAL:
            return 0
        numerator, denominator = struct.unpack_from(f"{self.byte_order}II", entry.value)
        return numerator / denominator if denominator else 0

    @property
    def copyright_notice(self) -> str:
        """The notice in words; empty where there is none."""
        entry = self.picture.get(_Tag.COPYRIGHT)
        return clean_notice(entry.value) if entry else ""

    @property
    def xmp(self) -> bytes:
        """The XMP packet that a TIFF holds."""
        entry = self.picture.get(_Tag.XMP)
        return entry.value if entry else b""

    @property
    def iptc(self) -> bytes:
        """The IPTC datasets that a TIFF holds."""
        entry = self.picture.get(_Tag.IPTC)
        return entry.value if entry else b""

    @property
    def value_bytes(self) -> int:
        """Size of all entries, but for those that describe how pixels are stored."""
        entries = (*self.picture.items(), *self.camera.items())
        return sum(len(entry.value) for tag, entry in entries if tag not in _STRUCTURE)

    @property
    def tags(self) -> set[int]:
        """Tags of the picture and of the camera, but for those with names of their own."""
        return ({*self.picture, *self.camera} - _STRUCTURE) - _NAMED

    def names(self) -> set[str]:
        """Name everything that is there beside the orientation and the copyright notice."""
        said = self.picture.keys() - _STRUCTURE - _SAID_ELSEWHERE
        says_more = bool(said or self.camera or self.is_broken)
        found = {"exif"} if says_more else set()
        found |= {"gps"} if _Tag.GPS in self.picture else set()
        found |= {"maker-note"} if _Tag.MAKER_NOTE in self.camera else set()
        found |= {"comment"} if _Tag.USER_COMMENT in self.camera else set()
        found |= {"thumbnail"} if self.has_thumbnail else set()
        return found

    def copied(
        self,
        orientation: int,
        notice: str,
        size: tuple[int, int] | None = None,
        *,
        location: bool = True,
    ) -> bytes:
        """Return a new block of the allowed entries, those of GPS only if `location`."""
        picture = {tag: entry for tag, entry in self.picture.items() if tag in _PICTURE_TAGS}
        camera = {tag: entry for tag, entry in self.camera.items() if tag in _CAMERA_TAGS}
        if size and _Tag.WIDTH in camera:
            width, height = (struct.pack(f"{self.byte_order}I", side) for side in size)
            camera[_Tag.WIDTH] = _Entry(_LONG, 1, width)
            camera[_Tag.HEIGHT] = _Entry(_LONG, 1, height)
        if not location:
            for tag in (_Tag.USER_COMMENT, *_SERIAL_NUMBERS):
                camera.pop(tag, None)
        gps = self.gps if location else {}
        return _block(self.byte_order, picture, camera, gps, orientation, notice)

    def upright(self, size: tuple[int, int]) -> bytes:
        """Return the block for a picture that was turned and now has this size.

        The pointer to the thumbnail is cleared, as a turned picture's thumbnail would be sideways.
        """
        patched = bytearray(self.data)
        if self.orientation != 1:
            patched[self.end : self.end + 4] = bytes(len(patched[self.end : self.end + 4]))
        for tag, value in ((_Tag.ORIENTATION, 1), (_Tag.WIDTH, size[0]), (_Tag.HEIGHT, size[1])):
            for entry in (self.picture.get(tag), self.camera.get(tag)):
                if entry and entry.count == 1 and entry.kind in _NUMBERS:
                    form = self.byte_order + _NUMBERS[entry.kind]
                    with suppress(struct.error):  # too large for its type: it was wrong before
                        struct.pack_into(form, patched, entry.at, value)
        return bytes(patched)


def clean_notice(raw: bytes | str) -> str:
    """Return a copyright notice, in UTF-8 or else Latin-1, as one printable line."""
    text = raw if isinstance(raw, str) else _decoded(raw[: 4 * _MAX_NOTICE_CHARACTERS])
    text = text[: 4 * _MAX_NOTICE_CHARACTERS]
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_MAX_NOTICE_CHARACTERS]


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse(tiff: bytes) -> Exif:
    """Read a block, without the `Exif` prefix; a broken one as far as it makes sense."""
    if (byte_order := _BYTE_ORDERS.get(tiff[:4])) is None:
        return Exif(tiff, is_broken=bool(tiff.strip(b"\0")))
    picture: dict[int, _Entry] = {}
    camera: dict[int, _Entry] = {}
    gps: dict[int, _Entry] = {}
    more = end = 0
    try:
        (at,) = struct.unpack_from(f"{byte_order}I", tiff, 4)
        end, more = _read(tiff, byte_order, at, picture)
        for tag, entries in ((_Tag.CAMERA, camera), (_Tag.GPS, gps)):
            if (pointer := picture.get(tag)) and pointer.kind == _LONG:
                (at,) = struct.unpack_from(f"{byte_order}I", pointer.value)
                _read(tiff, byte_order, at, entries)
    except struct.error:
        pass
    has_thumbnail = bool(more) or _Tag.THUMBNAIL in picture
    return Exif(tiff, byte_order, picture, camera, gps, has_thumbnail, end)


def minimal(orientation: int, notice: str, resolution: Resolution | None = None) -> bytes:
    """Return the smallest block that says these; nothing where there is nothing to say."""
    picture: dict[int, _Entry] = {}
    if resolution:
        across, down, unit = resolution.in_exif()
        picture = {
            _Tag.ACROSS: _Entry(_RATIONAL, 1, across),
            _Tag.DOWN: _Entry(_RATIONAL, 1, down),
            _Tag.UNIT: _Entry(_SHORT, 1, struct.pack(">H", unit)),
        }
    return _block(">", picture, {}, {}, orientation, notice)


def _read(tiff: bytes, order: str, at: int, entries: dict[int, _Entry]) -> tuple[int, int]:
    """Read a directory into `entries`; return where it ends, and where the next one is."""
    # Entries that share bytes could be made to hold far more than the block does.
    budget = len(tiff)
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for place in range(at + 2, at + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES):
        tag, kind, items = struct.unpack_from(f"{order}HHI", tiff, place)
        length = items * _TYPE_BYTES.get(kind, 0)
        start = place + 8
        if length > _INLINE_BYTES:
            (start,) = struct.unpack_from(f"{order}I", tiff, start)
        if length and length <= budget and start + length <= len(tiff):
            budget -= length
            entries.setdefault(tag, _Entry(kind, items, tiff[start : start + length], start))
    end = at + 2 + count * _ENTRY_BYTES
    return end, int.from_bytes(tiff[end : end + 4])


def _block(
    order: str,
    picture: dict[int, _Entry],
    camera: dict[int, _Entry],
    gps: dict[int, _Entry],
    orientation: int,
    notice: str,
) -> bytes:
    picture = dict(picture)
    if orientation != 1:
        value = struct.pack(f"{order}H", orientation)
        picture[_Tag.ORIENTATION] = _Entry(_SHORT, 1, value)
    if notice:
        text = notice.encode() + b"\0"
        picture[_Tag.COPYRIGHT] = _Entry(_ASCII, len(text), text)
    at, inner = 8, b""
    for tag, entries in ((_Tag.CAMERA, camera), (_Tag.GPS, gps)):
        if entries:
            picture[tag] = _Entry(_LONG, 1, struct.pack(f"{order}I", at))
            directory = _directory(order, entries, at)
            at, inner = at + len(directory), inner + directory
    if not picture:
        return b""
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    return header + inner + _directory(order, picture, at)


def _directory(order: str, entries: dict[int, _Entry], at: int) -> bytes:
    table, values = bytearray(struct.pack(f"{order}H", len(entries))), bytearray()
    values_at = at + 2 + len(entries) * _ENTRY_BYTES + 4
    for tag, entry in sorted(entries.items()):
        table += struct.pack(f"{order}HHI", tag, entry.kind, entry.count)
        if len(entry.value) <= _INLINE_BYTES:
            table += entry.value.ljust(_INLINE_BYTES, b"\0")
        else:
            table += struct.pack(f"{order}I", values_at + len(values))
            # A value begins on a word (TIFF 6.0, section 2).
            values += entry.value + b"\0" * (len(entry.value) % 2)
    return bytes(table + bytes(4) + values)
