"""Pictures made of a stored image: for now a still, to be shown among others.

Pure and synchronous; runs in a codec worker.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from app.imaging.decode import decoder_errors, upright
from app.imaging.develop import examine

if TYPE_CHECKING:
    from app.imaging.limits import ImageLimits

_QUALITY = 80
"""For a picture that the next one replaces: half the bytes of quality 90."""

_COLOUR_SPACE = slice(16, 20)
"""Of the data, in a profile's header (ICC.1:2022, 7.2)."""


def still(data: bytes, limits: ImageLimits, max_side: int) -> bytes:
    """Make a JPEG of the first frame, on white where it is transparent.

    Args:
        data: any image that is taken.
        limits: what it may ask of the decoder.
        max_side: the longest side of the result, in pixels; smaller images are not enlarged.

    Raises:
        ImageRefusedError: it cannot be decoded.
    """
    decoded = examine(data, limits)
    stripped, image = decoded.stripped, decoded.image
    with decoder_errors():
        picture = _eight_bit(image)
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture = upright(picture, stripped.orientation)
    picture.thumbnail((max_side, max_side))
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        picture = white
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=_QUALITY, icc_profile=_rgb_profile(image))
    return output.getvalue()


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey, which Pillow 13 clips where it converts it: all but black is white."""
    if image.mode != "I;16":
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def _rgb_profile(image: Image.Image) -> bytes | None:
    """Return the colour profile if it is one of RGB: one of grey or CMYK says nothing of RGB."""
    profile: bytes = image.info.get("icc_profile", b"")
    return profile if profile[_COLOUR_SPACE] == b"RGB " else None
