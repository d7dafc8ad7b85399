"""What the samples of a decoded image mean, and how they become RGB.

CMYK, Lab and grey with a profile become sRGB through it, by littlecms, never by formula. RGB keeps
the profile that it came with.

Source: ICC.1:2022, 7.2 (header).
"""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from app.errors import InvalidImageError

_COLOUR_SPACE = slice(16, 20)
"""Of the data, in a profile's header."""

_SUBTRACTIVE = frozenset({"CMYK", "LAB"})
_SIMPLE = frozenset({"1", "L", "LA", "P", "PA", "RGB", "YCbCr", "RGBX"})
_OPAQUE = (255, 255)
"""Extremes of an alpha channel that hides nothing: cameras of industry and screens write it."""


def icc_profile(image: Image.Image) -> bytes | None:
    """Return the colour profile, if there is one."""
    return image.info.get("icc_profile") or None


def colour_space(image: Image.Image) -> bytes:
    """Return the signature of the colour space that the image's profile is of, or nothing."""
    return (icc_profile(image) or b"")[_COLOUR_SPACE]


def rgb_profile(image: Image.Image) -> bytes | None:
    """Return the colour profile if it is one of RGB: one of grey or CMYK says nothing of RGB."""
    return icc_profile(image) if colour_space(image) == b"RGB " else None


def eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey, which Pillow 13 clips where it converts it: all but black is white."""
    if image.mode != "I;16":
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")


def in_rgb(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Return the image as RGB, or RGBA where it is transparent, and the profile that it is in.

    Raises:
        InvalidImageError: What it looks like is not known, or cannot be said in RGB.
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
            "It is CMYK without a colour profile, so what it looks like is not known."
        )
    try:
        # Lab is what it says, whatever device it is for.
        file = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
        source = ImageCms.ImageCmsProfile(file)
        target = ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise InvalidImageError("Its colour profile cannot be used.") from error
    assert turned is not None  # noqa: S101 - it is, unless it was to work in place
    return turned
