"""What a file says beside its picture, and which of it goes on with the picture.

The container modules (`jpeg`, `png`, `webp`, `gif`, `heif`) each copy, from an allow-list, the
parts that decide how the picture looks, and nothing else; what they leave out they hand over as
`Metadata`. No pixel is re-encoded. The decoder then sees only what was copied, so what is stored
is what was checked. What is to stay is put into the result afterwards, in its simplest form.

Sources: EXIF 2.32; XMP part 1, ISO 16684-1 (dc:rights); IPTC-IIM 4.2 (datasets 2:90 to 2:101 and
2:116); Adobe Photoshop file formats, image resource 0x0404.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from xml.etree import ElementTree as ET

from app.errors import InvalidImageError
from app.imaging import exif

_IPTC_PLACES = frozenset({26, 27, 90, 92, 95, 100, 101})
_IPTC_COPYRIGHT = 116
_IPTC_DATASET = re.compile(rb"\x1c\x02(.)([\x00-\x7f].)", re.DOTALL)
_PHOTOSHOP_IPTC = re.compile(rb"8BIM\x04\x04(.)", re.DOTALL)

_XMP_RIGHTS = "{http://purl.org/dc/elements/1.1/}rights"
_XMP_PLACE = re.compile(
    rb"gps|location|place|:city|:country|:state|geo|thumb|img:image|\0", re.IGNORECASE
)
"""Properties that name a place in the schemas in use, previews, which may hold anything, and what
is not UTF-8, in which none of these would be found."""

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")


class MetadataOption(StrEnum):
    """What becomes of metadata."""

    STRIP = "strip"  # all but a copyright notice
    STRIP_GPS = "strip-gps"  # what may name a place
    KEEP = "keep"


@dataclass(slots=True)
class Metadata:
    """What a container holds beside a picture.

    Args:
        exif: a TIFF block.
        xmp: a packet.
        iptc: datasets (IIM).
        notice: a copyright notice in a field of the container's own.
        others: what else was there, by name.
        size_bytes: of all that, and of the colour profile.
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    notice: str = ""
    others: set[str] = field(default_factory=set)
    size_bytes: int = 0

    def note(self, name: str, payload: bytes) -> None:
        """Note that there was something; it does not go on."""
        self.others.add(name)
        self.size_bytes += len(payload)

    def names(self) -> set[str]:
        """Name what there is."""
        found = self.others | exif.parse(self.exif).names()
        found |= {"xmp"} if self.xmp else set()
        found |= {"iptc"} if self.iptc else set()
        return found | ({"copyright"} if self.copyright_notice() else set())

    def copyright_notice(self) -> str:
        """Return the notice, wherever it stands; empty where there is none."""
        return (
            exif.parse(self.exif).copyright_notice
            or _xmp_notice(self.xmp)
            or _iptc_notice(self.iptc)
            or self.notice
        )

    def chosen(self, option: MetadataOption, orientation: int, size: tuple[int, int]) -> Metadata:
        """Return what goes on with the picture.

        Args:
            option: what the uploader wants.
            orientation: how viewers still have to turn it; with `keep` it is upright.
            size: `(width, height)` of the picture that it goes on with.
        """
        notice = self.copyright_notice()
        if option is MetadataOption.KEEP:
            block = exif.upright(self.exif, size) or exif.minimal(orientation, notice)
            return Metadata(block, _XMP_ORIENTATION.sub(rb"\g<1>1", self.xmp), self.iptc)
        if option is MetadataOption.STRIP_GPS:
            block = exif.parse(self.exif).copied(orientation, notice, size, location=False)
            places = {number for number, _ in _iptc_datasets(self.iptc)} & _IPTC_PLACES
            xmp = b"" if _XMP_PLACE.search(self.xmp.strip(b"\0")) else self.xmp
            return Metadata(block, xmp, b"" if places else self.iptc)
        return Metadata(exif.minimal(orientation, notice))


@dataclass(frozen=True, slots=True)
class Stripped:
    """A container without its metadata.

    Args:
        data: a complete file, which does not say its orientation.
        size: `(width, height)` as stored, *before* orientation; None where the decoder says it.
        orientation: 1 to 8, as EXIF has it.
        end: where the picture ended in the upload; what follows it is no part of it.
        frame_count: frames that a viewer shows; None where the decoder says it.
        metadata: what was left out.
    """

    data: bytes
    size: tuple[int, int] | None
    orientation: int
    end: int
    frame_count: int | None = 1
    metadata: Metadata = field(default_factory=Metadata)


def truncated() -> InvalidImageError:
    """Return the error for a file that ends before its container says so."""
    return InvalidImageError("The image is truncated.")


def iptc_of(resources: bytes) -> bytes:
    """Return the datasets among Photoshop's image resources; the others are left."""
    if (found := _PHOTOSHOP_IPTC.search(resources)) is None:
        return b""
    # A name, counted and padded to a word, precedes the size.
    name_bytes = 1 + found[1][0]
    at = found.end() - 1 + name_bytes + name_bytes % 2
    return resources[at + 4 : at + 4 + int.from_bytes(resources[at : at + 4])]


def as_resources(iptc: bytes) -> bytes:
    """Return datasets as an image resource of Photoshop."""
    return b"8BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc + b"\0" * (len(iptc) % 2)


def _iptc_datasets(iptc: bytes) -> list[tuple[int, bytes]]:
    return [
        (found[1][0], iptc[found.end() : found.end() + int.from_bytes(found[2])])
        for found in _IPTC_DATASET.finditer(iptc)
    ]


def _iptc_notice(iptc: bytes) -> str:
    notices = (value for number, value in _iptc_datasets(iptc) if number == _IPTC_COPYRIGHT)
    return exif.clean_notice(next(notices, b"").decode("utf-8", "replace"))


def _xmp_notice(xmp: bytes) -> str:
    # A document type has no place in a packet, and could unpack to far more than it is.
    if b"rights" not in xmp or b"<!" in xmp:
        return ""
    try:
        rights = ET.fromstring(xmp.strip(b" \r\n\t\0")).find(f".//{_XMP_RIGHTS}")  # noqa: S314
    except (ET.ParseError, ValueError, LookupError):
        return ""
    return exif.clean_notice(" ".join(rights.itertext())) if rights is not None else ""
