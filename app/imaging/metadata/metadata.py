"""The metadata of a file beside its picture, and the part of it that goes on with the picture.

The container modules (`jpeg`, `png`, `webp`, `gif`, `heif`) each copy, from an allow-list, the
parts that decide how the picture looks, and nothing else; the rest becomes `Metadata`. No pixel is
re-encoded. The decoder then sees only the copy, so only checked bytes are stored. `Blocks`
that are to stay are put into the result afterwards, in their simplest form.

`exif`, `xmp` and `iptc` know the contents of their blocks. Each block is parsed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from app.errors import InvalidImageError
from app.imaging.metadata import exif
from app.imaging.metadata.exif import Exif
from app.imaging.metadata.iptc import Datasets
from app.imaging.metadata.xmp import Packet, names_a_place

if TYPE_CHECKING:
    from app.imaging.metadata.resolution import Resolution


class MetadataOption(StrEnum):
    """The choice of metadata that goes on with an image."""

    STRIP = "strip"  # all but a copyright notice goes
    STRIP_GPS = "strip-gps"  # all that may name a place goes
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Blocks:
    """Metadata as bytes, ready to be put into a file.

    Args:
        exif: A TIFF block.
        xmp: A packet.
        iptc: Datasets (IIM).
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""


@dataclass(slots=True)
class Metadata:
    """Everything in a container beside its picture.

    Args:
        exif: Its EXIF block.
        xmp: Its XMP packet.
        iptc: Its IPTC datasets.
        notice: A copyright notice in a field of the container's own.
        others: Names of everything else.
        size_bytes: Size of all that, and of the colour profile.
    """

    exif: Exif = field(default_factory=Exif)
    xmp: Packet = field(default_factory=Packet)
    iptc: Datasets = field(default_factory=Datasets)
    notice: str = ""
    others: set[str] = field(default_factory=set)
    size_bytes: int = 0

    @classmethod
    def of(cls, blocks: Blocks) -> Self:
        """Parse blocks that are to stay."""
        return cls(exif.parse(blocks.exif), Packet(blocks.xmp), Datasets(blocks.iptc))

    def add_other(self, name: str, payload: bytes) -> None:
        """Count a part that does not go on with the picture."""
        self.others.add(name)
        self.size_bytes += len(payload)

    def names(self) -> set[str]:
        """Name everything that is there."""
        found = self.others | self.exif.names()
        found |= {"xmp"} if self.xmp.data else set()
        found |= {"iptc"} if self.iptc.data else set()
        found |= {"gps"} if names_a_place(self.xmp.properties) else set()
        return found | ({"copyright"} if self.copyright_notice() else set())

    def removed(self, left: Metadata) -> set[str]:
        """Name everything that is missing from what is left, in whole or in part."""
        parts = {
            "exif-partly": self.exif.tags - left.exif.tags,
            "xmp-partly": self.xmp.properties - left.xmp.properties,
            "iptc-partly": self.iptc.kinds - left.iptc.kinds,
        }
        remaining = left.names()
        return (self.names() - remaining) | {
            name
            for name, lost in parts.items()
            if lost and name.removesuffix("-partly") in remaining
        }

    @property
    def orientation(self) -> int:
        """The orientation, from 1 to 8: of EXIF, or of XMP where EXIF names none."""
        return self.exif.named_orientation or self.xmp.orientation

    def copyright_notice(self) -> str:
        """Return the notice, wherever it stands; empty where there is none."""
        return (
            self.exif.copyright_notice
            or self.xmp.copyright_notice
            or self.iptc.copyright_notice
            or self.notice
        )

    def chosen(
        self,
        option: MetadataOption,
        orientation: int,
        size: tuple[int, int],
        resolution: Resolution | None = None,
        *,
        turned: bool = False,
    ) -> Blocks:
        """Return the blocks that go on with the picture.

        Args:
            option: The uploader's choice.
            orientation: The orientation to write, 1 to 8; 1 where the pixels are upright.
            size: `(width, height)` of the picture that the blocks go on with.
            resolution: The density of its pixels, where only a block can say it.
            turned: Whether the picture was turned by a quarter.
        """
        notice = self.copyright_notice()
        packet = self.xmp.of_one_picture() if option is MetadataOption.KEEP else self.xmp
        packet = packet.upright() if orientation == 1 else packet
        own = self.exif.resolution
        if option is MetadataOption.STRIP:
            return Blocks(exif.minimal(orientation, notice, resolution))
        other = None if own and resolution == (own.turned() if turned else own) else resolution
        if option is MetadataOption.KEEP:
            block = self.exif.upright(size, turned=turned, resolution=other)
            block = block or exif.minimal(orientation, notice, resolution)
            return Blocks(block, packet.data, self.iptc.data)
        block = self.exif.copied(
            orientation, notice, size, location=False, turned=turned, resolution=other
        )
        return Blocks(block, packet.without_location.data, self.iptc.without_location)


@dataclass(frozen=True, slots=True)
class Stripped:
    """A container without its metadata.

    Args:
        data: A complete file, which does not say its orientation.
        size: `(width, height)` as stored, *before* orientation; None where the decoder says it.
        orientation: 1 to 8, as EXIF has it.
        end: Where the picture ended in the upload; the bytes after it are no part of it.
        frame_count: Frames that a viewer shows; None where the decoder says it.
        metadata: Everything that was left out.
        resolution: The density of the pixels as stored, if the container says it.
        turns_itself: Whether the container turns the picture by a quarter, as all decoders but that
            of AVIF do then.
        announced: Size that the container names where only the decoder knows the real one.
        was_open: Whether the upload lacked its end marker, so that its picture may be cut short.
    """

    data: bytes
    size: tuple[int, int] | None
    orientation: int
    end: int
    frame_count: int | None = 1
    metadata: Metadata = field(default_factory=Metadata)
    resolution: Resolution | None = None
    turns_itself: bool = False
    announced: tuple[int, int] | None = None
    was_open: bool = False


def truncated() -> InvalidImageError:
    """Return the error for a file that ends before its container says so."""
    return InvalidImageError("The image is truncated.")
