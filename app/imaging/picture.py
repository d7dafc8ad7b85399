"""A decoded picture, and the files that could be stored of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from PIL.JpegImagePlugin import JpegImageFile

from app.imaging.colours import colour_space, icc_profile, in_rgb
from app.imaging.containers import heif_properties, jpeg, png
from app.imaging.edges import has_sharp_colours, has_sharp_lines
from app.imaging.formats import ImageFormat
from app.imaging.metadata.exif import QUARTER_TURNS

if TYPE_CHECKING:
    from PIL.Image import Image

    from app.imaging.metadata.metadata import Stripped
    from app.imaging.metadata.resolution import Resolution

# Sums of libjpeg's luminance quantisation table at quality 85 and 95.
_COARSE_TABLE_SUM = 1109
_FINE_TABLE_SUM = 369

# Charts and screenshots have fewer, and so has a photo of a plain wall: 938.
_GRAPHIC_COLOURS = 4096

# Tag of a TIFF (TIFF 6.0, section 8).
_BITS_PER_SAMPLE = 258


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that could be stored: its codec, its format, and its size as viewers show it.

    It is `exact` where every pixel is the upload's.
    """

    data: bytes
    codec: str
    image_format: ImageFormat
    size: tuple[int, int]
    exact: bool = False


@dataclass(frozen=True)
class Decoded:
    """A picture to be encoded: the decoder's image, its file, and the format of both.

    Properties that need a pass over the pixels or the file are computed once.
    """

    image: Image
    stripped: Stripped
    image_format: ImageFormat

    @property
    def size(self) -> tuple[int, int]:
        """`(width, height)` in pixels as viewers show it."""
        width, height = self.image.size
        turned = self.stripped.orientation in QUARTER_TURNS
        return (height, width) if turned else (width, height)

    @property
    def resolution(self) -> Resolution | None:
        """The density of the pixels as viewers show them; None where nothing says it."""
        stored = self.stripped.resolution or self.stripped.metadata.exif.resolution
        return stored.turned() if stored and self.is_turned else stored

    @property
    def is_turned(self) -> bool:
        """Whether the picture as viewers show it is turned by a quarter from the stored pixels."""
        by_decoder = self.stripped.turns_itself and self.image_format is not ImageFormat.AVIF
        return by_decoder or self.stripped.orientation in QUARTER_TURNS

    @property
    def frame_count(self) -> int:
        """Number of pictures that a viewer shows; one for a still image."""
        return self.stripped.frame_count or int(getattr(self.image, "n_frames", 1))

    @property
    def is_still(self) -> bool:
        """Whether the image is neither an animation nor a collection."""
        return self.frame_count == 1

    @cached_property
    def has_unusual_colours(self) -> bool:
        """Whether the colours are given in a form that another format cannot hold."""
        if isinstance(self.image, JpegImageFile):
            return self.image.mode == "CMYK" != colour_space(self.image).decode("latin-1")
        has_profile = icc_profile(self.image) is not None
        if self.image_format is ImageFormat.PNG:
            return not has_profile and png.has_unusual_colours(self.stripped.data)
        if self.image_format in {ImageFormat.HEIC, ImageFormat.AVIF}:
            return heif_properties.has_unusual_colours(self.stripped.data, has_profile=has_profile)
        return False

    @cached_property
    def is_graphic(self) -> bool:
        """Whether the picture is drawn or measured, and no photo.

        Then it has few colours with sharp edges, or deep ones.
        """
        if self.image.mode in {"1", "P", "I;16"}:
            return True
        if self.image.getcolors(_GRAPHIC_COLOURS) is None:
            return False
        return has_sharp_lines(self.in_rgb[0])

    @cached_property
    def in_rgb(self) -> tuple[Image, bytes | None]:
        """The picture as `app.imaging.colours.in_rgb` returns it, not yet upright."""
        return in_rgb(self.image)

    @cached_property
    def has_sharp_colours(self) -> bool:
        """Whether colours lie next to each other that are not to be mixed."""
        return self.image.mode != "L" and has_sharp_colours(self.in_rgb[0])

    @cached_property
    def is_rewritable_png(self) -> bool:
        """Whether the file is a PNG that Pillow can encode again without a change to a sample."""
        return self.image_format is ImageFormat.PNG and png.rewritable(self.stripped.data)

    @cached_property
    def is_seen_by_few(self) -> bool:
        """Whether few clients show the format, or no browser this kind of it."""
        if self.image_format is ImageFormat.JPEG:
            return jpeg.is_arithmetic(self.stripped.data)
        return self.image_format is ImageFormat.HEIC

    @property
    def is_coarse_jpeg(self) -> bool:
        """Whether the file is a JPEG below quality 85: at 85 it would lose quality for nothing."""
        return self._is_rgb_jpeg and self._table_sum >= _COARSE_TABLE_SUM

    @property
    def is_fine_jpeg(self) -> bool:
        """Whether the file is a JPEG above quality 95, which is smaller at 95."""
        return self._is_rgb_jpeg and self._table_sum < _FINE_TABLE_SUM

    @property
    def _is_rgb_jpeg(self) -> bool:
        return isinstance(self.image, JpegImageFile) and self.image.mode != "CMYK"

    @property
    def _table_sum(self) -> int:
        """The sum of a JPEG's luminance quantisation table."""
        assert isinstance(self.image, JpegImageFile)  # noqa: S101 - nothing else is asked
        return sum(self.image.quantization.get(0, ()))

    @property
    def is_deep_tiff(self) -> bool:
        """Whether the file is a TIFF of more bits a sample than Pillow decodes, except for grey."""
        if self.image_format is not ImageFormat.TIFF or self.image.mode == "I;16":
            return False
        bits = getattr(self.image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))
        return bool(max(bits) > 8)  # noqa: PLR2004 - bits of a byte
