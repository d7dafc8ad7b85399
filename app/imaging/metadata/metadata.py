"""What a file says beside its picture, and which of it goes on with the picture.

The container modules (`jpeg`, `png`, `webp`, `gif`, `heif`) each copy, from an allow-list, the
parts that decide how the picture looks, and nothing else; what they leave out they hand over as
`Metadata`. No pixel is re-encoded. The decoder then sees only what was copied, so what is stored
is what was checked. What is to stay is put into the result afterwards, in its simplest form.

`exif`, `xmp` and `iptc` know what stands in each of the three.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from app.errors import InvalidImageError
from app.imaging.metadata import exif, iptc, xmp


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
        """Note that there was something that does not go on."""
        self.others.add(name)
        self.size_bytes += len(payload)

    def names(self) -> set[str]:
        """Name what there is."""
        block, properties = exif.parse(self.exif), xmp.properties(self.xmp)
        found = self.others | block.names()
        found |= {"xmp"} if self.xmp else set()
        found |= {"iptc"} if self.iptc else set()
        found |= {"gps"} if xmp.name_a_place(properties) else set()
        return found | ({"copyright"} if self.copyright_notice() else set())

    def removed(self, left: Metadata) -> set[str]:
        """Name what there is and is not in what was left of it, in whole or in part."""
        parts = {
            "exif-partly": exif.parse(self.exif).tags - exif.parse(left.exif).tags,
            "xmp-partly": xmp.properties(self.xmp) - xmp.properties(left.xmp),
            "iptc-partly": iptc.kinds(self.iptc) - iptc.kinds(left.iptc),
        }
        kept = left.names()
        return (self.names() - kept) | {
            name for name, lost in parts.items() if lost and name.removesuffix("-partly") in kept
        }

    def copyright_notice(self) -> str:
        """Return the notice, wherever it stands; empty where there is none."""
        return (
            exif.parse(self.exif).copyright_notice
            or xmp.copyright_notice(self.xmp)
            or iptc.copyright_notice(self.iptc)
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
        packet = xmp.upright(self.xmp) if orientation == 1 else self.xmp
        if option is MetadataOption.KEEP:
            block = exif.upright(self.exif, size) or exif.minimal(orientation, notice)
            return Metadata(block, packet, self.iptc)
        if option is MetadataOption.STRIP_GPS:
            block = exif.parse(self.exif).copied(orientation, notice, size, location=False)
            return Metadata(block, xmp.without_place(packet), iptc.without_place(self.iptc))
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
