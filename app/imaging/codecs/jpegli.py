"""jpegli: an encoder of JPEG that needs a third fewer bytes for the same quality, if installed.

Hides that `pyjpegli`, an extra, accepts packed RGB and nothing else: the segments of the colour
profile are put in afterwards.

Source: https://github.com/google/jpegli.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from PIL import ImageFile

from app.imaging.containers.jpeg import with_icc_profile

if TYPE_CHECKING:
    from PIL.Image import Image

pyjpegli: Any = import_module("pyjpegli") if find_spec("pyjpegli") else None
AVAILABLE = pyjpegli is not None


def encode(image: Image, quality: int, icc_profile: bytes | None) -> bytes:
    """Encode an image of mode RGB.

    Raises:
        ValueError: The profile is too large for a JPEG.
    """
    data: bytes = pyjpegli.encode(_packed(image), image.width, image.height, quality=quality)
    return with_icc_profile(data, icc_profile) if icc_profile else data


def _packed(image: Image) -> bytes:
    """Return the pixels, in one piece: Pillow's pieces of 64 KB would be joined in another copy."""
    usual = ImageFile.MAXBLOCK
    ImageFile.MAXBLOCK = 3 * image.width * image.height
    try:
        return image.tobytes()
    finally:
        ImageFile.MAXBLOCK = usual
