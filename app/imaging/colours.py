"""The meaning of the samples of a decoded image, and their conversion to RGB.

CMYK, Lab and grey with a profile become sRGB through it, by littlecms, never by formula. RGB keeps
its profile.

Source: ICC.1:2022, 7.2 (header).
"""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageCms

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


def with_key_as_alpha(
    image: Image.Image, bit_depth: int, key: tuple[int, ...], low_bytes: Image.Image | None
) -> Image.Image:
    """Return the image of a PNG with an alpha channel in place of a transparent colour.

    Args:
        image: Grey or RGB, as Pillow decodes it: it scales samples of other than 8 bits, not the
            colour.
        bit_depth: Bits of a sample in the file.
        key: The transparent colour, in samples of the file.
        low_bytes: The other half of the samples of RGB of 16 bits.
    """
    if image.mode == "I;16":
        differs = [0 if sample == key[0] else 255 for sample in range(1 << 16)]
        alpha = image.convert("I").point(differs, "L")
        image = eight_bit(image)
    else:
        image = image.convert("L") if image.mode == "1" else image
        bands = [*image.split(), *(low_bytes.split() if low_bytes else ())]
        if low_bytes:
            key = (*(sample >> 8 for sample in key), *(sample & 255 for sample in key))
        else:
            key = tuple(sample * 255 // ((1 << bit_depth) - 1) for sample in key)
        alpha = Image.new("L", image.size)
        for band, shade in zip(bands, key, strict=True):
            differs = [0 if sample == shade else 255 for sample in range(256)]
            alpha = ImageChops.lighter(alpha, band.point(differs))
    image.putalpha(alpha)
    image.info.pop("transparency", None)
    return image


def in_rgb(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """Return the image as RGB, or RGBA where it is transparent, and its profile.

    That is the image itself where it is so already.

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
        wanted = "RGBA" if image.has_transparency_data else "RGB"
        image = image if image.mode == wanted else image.convert(wanted)
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
