"""The meaning of the samples of a decoded image, and their conversion to RGB.

CMYK, Lab and grey with a profile become sRGB through it, by littlecms, never by formula. RGB keeps
its profile.

Source: ICC.1:2022, 7.2 (header).
"""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from app.errors import InvalidImageError
from app.imaging.metadata.icc import anonymous

# Colour space of the data, in a profile's header.
_COLOUR_SPACE = slice(16, 20)

_SUBTRACTIVE = frozenset({"CMYK", "LAB"})
_SIMPLE = frozenset({"1", "L", "LA", "P", "PA", "RGB", "YCbCr", "RGBX"})

# Extremes of an alpha channel that hides nothing: industrial cameras and screens write it.
_OPAQUE = (255, 255)


def icc_profile(image: Image.Image) -> bytes | None:
    """Return the colour profile, if there is one, without the device that it was measured on."""
    profile = image.info.get("icc_profile")
    return anonymous(profile) if profile else None


def colour_space(image: Image.Image) -> bytes:
    """Return the signature of the profile's colour space; empty without a profile."""
    return (icc_profile(image) or b"")[_COLOUR_SPACE]


def rgb_profile(image: Image.Image) -> bytes | None:
    """Return the colour profile if it is for RGB: one for grey or CMYK says nothing of RGB."""
    return icc_profile(image) if colour_space(image) == b"RGB " else None


def eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey, which Pillow 13 would clip: all but black became white."""
    if image.mode != "I;16":
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def in_rgb(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Return the image as RGB, or RGBA where it is transparent, and its profile.

    Raises:
        InvalidImageError: Its look is not known, or cannot be expressed in RGB.
    """
    profile, space = rgb_profile(image), colour_space(image)
    image = eight_bit(image)
    if image.mode == "LA" and space == b"GRAY":
        picture = _through_profile(image.getchannel("L"), icc_profile(image))
        picture.putalpha(image.getchannel("A"))
        return picture, None
    if image.mode in _SUBTRACTIVE or (image.mode == "L" and space == b"GRAY"):
        return _through_profile(image, icc_profile(image)), None
    if image.mode in _SIMPLE:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == _OPAQUE:
        image = image.convert("RGB")
    if image.mode in {"RGB", "RGBA"}:
        return image, profile
    raise InvalidImageError(
        f"Its samples ({image.mode}) have no equivalent in a format that browsers show."
    )


def _through_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "CMYK" and not profile:
        raise InvalidImageError(
            "The image is CMYK without a colour profile, so its colours are not known."
        )
    try:
        # Lab means the same colours on every device.
        file = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
        source = ImageCms.ImageCmsProfile(file)
        target = ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise InvalidImageError("Its colour profile cannot be used.") from error
    assert turned is not None  # noqa: S101 - None is returned in place only
    return turned
