"""EXIF: a camera's TIFF block, and the entries of it that may go on with a picture.

Three directories are read: of the picture, the camera and GPS. A new block is written from the
chosen entries and nothing else. Slack, a preview and the camera maker's notes are never copied: any
of them may repeat the location. A broken block does not make a picture unreadable, so nothing here
raises.

Sources: EXIF 2.32 (CIPA DC-008), 4.5 and 4.6; TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from app.imaging.metadata.exif_directory import (
    ASCII,
    ENTRY_BYTES,
    LONG,
    RATIONAL,
    SHORT,
    Entry,
    read,
    written,
)
from app.imaging.metadata.exif_tags import (
    CAMERA_TAGS,
    NAMED,
    PICTURE_TAGS,
    SAID_ELSEWHERE,
    SERIAL_NUMBERS,
    STRUCTURE,
    Tag,
)
from app.imaging.metadata.resolution import Resolution

_MAX_NOTICE_CHARACTERS = 1000
_HEADER_BYTES = 8
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


# Orientations that swap width and height (EXIF 2.32, 4.6.4 A).
QUARTER_TURNS = range(5, 9)


@dataclass(frozen=True, slots=True)
class Exif:
    """A block and the entries of its directories, by tag.

    `end` is the position after the picture's entries, where the offset of the next directory is
    stored. A block that cannot be read `is_broken`.
    """

    data: bytes = b""
    byte_order: str = ">"
    picture: dict[int, Entry] = field(default_factory=dict)
    camera: dict[int, Entry] = field(default_factory=dict)
    gps: dict[int, Entry] = field(default_factory=dict)
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
        entry = self.picture.get(Tag.ORIENTATION)
        numbers = entry.whole_numbers(self.byte_order) if entry else ()
        return numbers[0] if len(numbers) == 1 and numbers[0] in range(1, 9) else None

    @property
    def resolution(self) -> Resolution | None:
        """The density of the pixels; None where the block does not say it."""
        across, down = (self._rational(tag) for tag in (Tag.ACROSS, Tag.DOWN))
        unit, entry = 2, self.picture.get(Tag.UNIT)
        if entry and (entry.kind, entry.count) == (SHORT, 1):
            (unit,) = struct.unpack(f"{self.byte_order}H", entry.value)
        return Resolution.of(across, down, unit - 1)

    def _rational(self, tag: int) -> float:
        entry = self.picture.get(tag)
        # Some writers store two numbers, of which the first is meant.
        if entry is None or entry.kind != RATIONAL:
            return 0
        numerator, denominator = struct.unpack_from(f"{self.byte_order}II", entry.value)
        return numerator / denominator if denominator else 0

    @property
    def copyright_notice(self) -> str:
        """The notice in words; empty where there is none."""
        entry = self.picture.get(Tag.COPYRIGHT)
        return clean_notice(entry.value) if entry else ""

    @property
    def xmp(self) -> bytes:
        """The XMP packet that a TIFF holds."""
        entry = self.picture.get(Tag.XMP)
        return entry.value if entry else b""

    @property
    def iptc(self) -> bytes:
        """The IPTC datasets that a TIFF holds."""
        entry = self.picture.get(Tag.IPTC)
        return entry.value if entry else b""

    @property
    def value_bytes(self) -> int:
        """Size of all entries, but for those that describe how pixels are stored."""
        entries = (*self.picture.items(), *self.camera.items())
        return sum(len(entry.value) for tag, entry in entries if tag not in STRUCTURE)

    @property
    def tags(self) -> set[int]:
        """Tags of the picture and of the camera, but for those with names of their own."""
        return ({*self.picture, *self.camera} - STRUCTURE) - NAMED

    def names(self) -> set[str]:
        """Name everything that is there beside the orientation and the copyright notice."""
        said = self.picture.keys() - STRUCTURE - SAID_ELSEWHERE
        says_more = bool(said or self.camera or self.is_broken)
        found = {"exif"} if says_more else set()
        found |= {"gps"} if Tag.GPS in self.picture else set()
        found |= {"maker-note"} if Tag.MAKER_NOTE in self.camera else set()
        found |= {"comment"} if Tag.USER_COMMENT in self.camera else set()
        found |= {"thumbnail"} if self.has_thumbnail else set()
        return found

    def copied(
        self,
        orientation: int,
        notice: str,
        size: tuple[int, int] | None = None,
        *,
        location: bool = True,
        turned: bool = False,
        resolution: Resolution | None = None,
    ) -> bytes:
        """Return a new block of the allowed entries.

        Args:
            orientation: The orientation to write.
            notice: The copyright notice.
            size: `(width, height)`, where that changes.
            location: Whether entries of GPS stay.
            turned: Whether the picture was turned by a quarter.
            resolution: The density of its pixels, where that is another one than the block's.
        """
        picture = self._with_density(turned, resolution)
        picture = {tag: entry for tag, entry in picture.items() if tag in PICTURE_TAGS}
        camera = {tag: entry for tag, entry in self.camera.items() if tag in CAMERA_TAGS}
        if size and Tag.WIDTH in camera:
            width, height = (struct.pack(f"{self.byte_order}I", side) for side in size)
            camera[Tag.WIDTH] = Entry(LONG, 1, width)
            camera[Tag.HEIGHT] = Entry(LONG, 1, height)
        if not location:
            for tag in (Tag.USER_COMMENT, *SERIAL_NUMBERS):
                camera.pop(tag, None)
        gps = self.gps if location else {}
        return _block(self.byte_order, picture, camera, gps, orientation, notice)

    def upright(
        self,
        size: tuple[int, int],
        *,
        turned: bool = False,
        resolution: Resolution | None = None,
    ) -> bytes:
        """Return the block for a picture that is upright now, and has this size.

        Everything else stays in its place. The pointer to the thumbnail is cleared, as a turned
        picture's thumbnail would be sideways.

        Args:
            size: `(width, height)`.
            turned: Whether the picture was turned by a quarter.
            resolution: The density of its pixels, where that is another one than the block's.
        """
        patched = bytearray(self.data)
        if self.end and (turned or self.orientation != 1):
            patched[self.end : self.end + 4] = bytes(len(patched[self.end : self.end + 4]))
        for tag, value in ((Tag.ORIENTATION, 1), (Tag.WIDTH, size[0]), (Tag.HEIGHT, size[1])):
            for entry in (self.picture.get(tag), self.camera.get(tag)):
                if entry and (number := entry.one(value, self.byte_order)):
                    patched[entry.at : entry.at + len(number)] = number
        changed: dict[int, Entry] = {}
        for key, new in self._with_density(turned, resolution).items():
            old = self.picture.get(key)
            if old and (old.kind, old.count) == (new.kind, new.count):
                if old != new:
                    patched[old.at : old.at + len(new.value)] = new.value
            else:
                changed[key] = new
        return self._with_more(bytes(patched), changed) if changed else bytes(patched)

    def _with_density(self, turned: bool, resolution: Resolution | None) -> dict[int, Entry]:
        """Return the entries of the picture with the density of its pixels as they are now."""
        picture = dict(self.picture)
        if turned and picture.keys() >= {Tag.ACROSS, Tag.DOWN}:
            across, down = picture[Tag.ACROSS], picture[Tag.DOWN]
            picture |= {Tag.ACROSS: down, Tag.DOWN: across}
        return picture | (_density(self.byte_order, resolution) if resolution else {})

    def _with_more(self, block: bytes, entries: dict[int, Entry]) -> bytes:
        """Return a block with entries in a new directory of the picture at its end."""
        if not _HEADER_BYTES < self.end <= len(block):
            return block
        (start,) = struct.unpack_from(f"{self.byte_order}I", block, 4)
        rows = (block[at : at + ENTRY_BYTES] for at in range(start + 2, self.end, ENTRY_BYTES))
        others = tuple(row for row in rows if self._tag_of(row) not in entries)
        block += bytes(len(block) % 2)
        following = block[self.end : self.end + 4].ljust(4, b"\0")
        more = written(self.byte_order, entries, len(block), others, following)
        return block[:4] + struct.pack(f"{self.byte_order}I", len(block)) + block[8:] + more

    def _tag_of(self, row: bytes) -> int:
        return int(struct.unpack_from(f"{self.byte_order}H", row)[0])


def _density(order: str, resolution: Resolution) -> dict[int, Entry]:
    across, down, unit = resolution.in_exif(order)
    return {
        Tag.ACROSS: Entry(RATIONAL, 1, across),
        Tag.DOWN: Entry(RATIONAL, 1, down),
        Tag.UNIT: Entry(SHORT, 1, struct.pack(f"{order}H", unit)),
    }


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
    picture: dict[int, Entry] = {}
    camera: dict[int, Entry] = {}
    gps: dict[int, Entry] = {}
    more = end = 0
    try:
        (at,) = struct.unpack_from(f"{byte_order}I", tiff, 4)
        end, more = read(tiff, byte_order, at, picture)
        for tag, entries in ((Tag.CAMERA, camera), (Tag.GPS, gps)):
            if (pointer := picture.get(tag)) and pointer.kind == LONG:
                (at,) = struct.unpack_from(f"{byte_order}I", pointer.value)
                read(tiff, byte_order, at, entries)
    except struct.error:
        pass
    has_thumbnail = bool(more) or Tag.THUMBNAIL in picture
    return Exif(tiff, byte_order, picture, camera, gps, has_thumbnail, end)


def minimal(orientation: int, notice: str, resolution: Resolution | None = None) -> bytes:
    """Return the smallest block that says these; nothing where there is nothing to say."""
    picture = _density(">", resolution) if resolution else {}
    return _block(">", picture, {}, {}, orientation, notice)


def _block(
    order: str,
    picture: dict[int, Entry],
    camera: dict[int, Entry],
    gps: dict[int, Entry],
    orientation: int,
    notice: str,
) -> bytes:
    picture = dict(picture)
    if orientation != 1:
        value = struct.pack(f"{order}H", orientation)
        picture[Tag.ORIENTATION] = Entry(SHORT, 1, value)
    if notice:
        text = notice.encode() + b"\0"
        picture[Tag.COPYRIGHT] = Entry(ASCII, len(text), text)
    at, inner = 8, b""
    for tag, entries in ((Tag.CAMERA, camera), (Tag.GPS, gps)):
        if entries:
            picture[tag] = Entry(LONG, 1, struct.pack(f"{order}I", at))
            directory = written(order, entries, at)
            at, inner = at + len(directory), inner + directory
    if not picture:
        return b""
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    return header + inner + written(order, picture, at)
