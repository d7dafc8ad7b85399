"""Pictures made of a stored image: for now a still, to be shown among others.

Pure and synchronous; runs in a codec worker.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from app.errors import InvalidImageError
from app.imaging.colours import in_rgb
from app.imaging.decode import decoder_errors, upright
from app.imaging.develop import examine
from app.imaging.formats import sniff

if TYPE_CHECKING:
    from app.imaging.limits import ImageLimits

# For a picture that the next one replaces: half the bytes of quality 90.
_QUALITY = 80


def still(data: bytes, limits: ImageLimits, max_side: int) -> bytes:
    """Make a JPEG of the first frame, on white where it is transparent.

    Args:
        data: An image in an accepted format.
        limits: The most that it may ask of the decoder.
        max_side: The longest side of the result, in pixels; smaller images are not enlarged.

    Raises:
        ImageRefusedError: The image cannot be decoded.
    """
    decoded = examine(data, sniff(data), limits)
    stripped, image = decoded.stripped, decoded.image
    with decoder_errors():
        picture, profile = _for_a_screen(image)
    picture = upright(picture, stripped.orientation)
    picture.thumbnail((max_side, max_side))
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        picture = white
    output = io.BytesIO()
    picture.save(output, "JPEG", quality=_QUALITY, icc_profile=profile)
    return output.getvalue()


def _for_a_screen(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Return the image in RGB; by formula where its look is not known, as viewers do."""
    try:
        return in_rgb(image)
    except InvalidImageError:
        return image.convert("RGB"), None
