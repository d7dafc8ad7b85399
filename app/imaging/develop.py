"""The way of one image from uploaded bytes to stored bytes, its order visible in one function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.imaging import gif, jpeg, png, webp
from app.imaging.decode import decode
from app.imaging.encode import PROFILE, encode
from app.imaging.formats import ImageFormat, sniff

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from app.imaging.limits import ImageLimits
    from app.imaging.metadata import Stripped

_STRIP = {
    ImageFormat.JPEG: jpeg.strip,
    ImageFormat.PNG: png.strip,
    ImageFormat.WEBP: webp.strip,
    ImageFormat.GIF: gif.strip,
}

_WORTHWHILE = 0.98
"""What a new encoding may have of the upload's size: for less than 2 %, what lies in the upload is
the better picture. An image that was developed before stays as it is."""

_QUARTER_TURNS = range(5, 9)
"""Orientations that swap width and height (EXIF 2.32, 4.6.4 A)."""


@dataclass(frozen=True, slots=True)
class Developed:
    """An image as it is stored and served.

    Args:
        data: a complete file in the uploaded format, without metadata.
        media_type: of `data`.
        width: in pixels, as seen: after orientation.
        height: the same.
        frame_count: 1 for a still image.
        profile: the compression profile that was applied.
        kept: whether `data` is the upload less its metadata, and not a new encoding.
        codec: in words, how `data` was encoded here; `original` when it was not.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    frame_count: int
    profile: str
    kept: bool
    codec: str


def develop(data: bytes, limits: ImageLimits) -> Developed:
    """Check an upload, and make of it what is stored: upright, smaller, without metadata.

    Blocks for up to seconds and takes hundreds of megabytes: runs in a codec worker.

    Raises:
        UnsupportedFormatError: not JPEG, PNG, WebP or GIF.
        ImageLimitError: beyond the limits, or out of the worker's memory.
        InvalidImageError: truncated, damaged, or not what it says.
    """
    image_format, stripped, image = examine(data, limits)
    encoded = encode(image, stripped)
    stored, codec = _smaller(encoded, stripped.data)
    width, height = _as_seen(stripped.size, stripped.orientation)
    return Developed(
        data=stored,
        media_type=image_format.media_type,
        width=width,
        height=height,
        frame_count=stripped.frame_count,
        profile=PROFILE,
        kept=stored is stripped.data,
        codec=codec,
    )


def examine(data: bytes, limits: ImageLimits) -> tuple[ImageFormat, Stripped, ImageFile]:
    """Tell the format, strip the container and decode every frame; raises what `develop` does."""
    image_format = sniff(data)
    stripped = _STRIP[image_format](data)
    return image_format, stripped, decode(stripped, image_format, limits)


def _smaller(encoded: tuple[bytes, str] | None, kept: bytes) -> tuple[bytes, str]:
    if encoded is not None and len(encoded[0]) < _WORTHWHILE * len(kept):
        return encoded
    return kept, "original"


def _as_seen(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    width, height = size
    return (height, width) if orientation in _QUARTER_TURNS else (width, height)
