"""A picture as it was decoded, and the files that could be stored of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL.JpegImagePlugin import JpegImageFile

from app.imaging import heif, png
from app.imaging.colours import colour_space, icc_profile
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from PIL.Image import Image

    from app.imaging.metadata import Stripped

_QUARTER_TURNS = range(5, 9)
"""Orientations that swap width and height (EXIF 2.32, 4.6.4 A)."""


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
