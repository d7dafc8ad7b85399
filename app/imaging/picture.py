"""A picture as it was decoded, and the files that could be stored of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL.JpegImagePlugin import JpegImageFile

from app.imaging.colours import colour_space, icc_profile
from app.imaging.containers import heif, png
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from PIL.Image import Image

    from app.imaging.metadata.metadata import Stripped

_QUARTER_TURNS = range(5, 9)
"""Orientations that swap width and height (EXIF 2.32, 4.6.4 A)."""

_JPEG_TABLE_SUM = 1109
"""Sum of libjpeg's luminance quantisation table at quality 85."""

_GRAPHIC_COLOURS = 4096
"""Charts and screenshots have fewer, photos of any size more."""

_BITS_PER_SAMPLE = 258
"""Tag of a TIFF (TIFF 6.0, section 8)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that could be stored: how it came about, its format and its size as seen.

    It is `exact` where every pixel is the upload's.
    """

    data: bytes
    codec: str
    image_format: ImageFormat
    size: tuple[int, int]
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """What there is to encode: the decoder's image, its file, and the format of both."""

    image: Image
    stripped: Stripped
    image_format: ImageFormat

    @property
    def size(self) -> tuple[int, int]:
        """`(width, height)` in pixels as it is to be seen."""
        width, height = self.image.size
        turned = self.stripped.orientation in _QUARTER_TURNS
        return (height, width) if turned else (width, height)

    @property
    def frame_count(self) -> int:
        """How many pictures a viewer shows; one for a still image."""
        return self.stripped.frame_count or int(getattr(self.image, "n_frames", 1))

    @property
    def is_still(self) -> bool:
        """Whether it is no animation, nor a collection."""
        return self.frame_count == 1

    @property
    def has_unusual_colours(self) -> bool:
        """Whether its colours are said in a way that another format has no field for."""
        if isinstance(self.image, JpegImageFile):
            return self.image.mode == "CMYK" != colour_space(self.image).decode("latin-1")
        has_profile = icc_profile(self.image) is not None
        if self.image_format is ImageFormat.PNG:
            return not has_profile and png.has_unusual_colours(self.stripped.data)
        if self.image_format in {ImageFormat.HEIC, ImageFormat.AVIF}:
            return heif.has_unusual_colours(self.stripped.data, has_profile=has_profile)
        return False

    @property
    def is_graphic(self) -> bool:
        """Whether it is drawn or measured, and no photo: it has few colours, or deep ones."""
        drawn = self.image.mode in {"1", "P", "I;16"}
        return drawn or self.image.getcolors(_GRAPHIC_COLOURS) is not None

    @property
    def is_coarse_jpeg(self) -> bool:
        """Whether it is a JPEG of lower quality than 85: at that one it would lose for nothing."""
        if not isinstance(self.image, JpegImageFile) or self.image.mode == "CMYK":
            return False
        return sum(self.image.quantization.get(0, ())) >= _JPEG_TABLE_SUM

    @property
    def is_deep_tiff(self) -> bool:
        """Whether it is a TIFF of more bits a sample than Pillow decodes: of those, grey alone."""
        if self.image_format is not ImageFormat.TIFF or self.image.mode == "I;16":
            return False
        bits = getattr(self.image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))
        return bool(max(bits) > 8)  # noqa: PLR2004 - bits of a byte
