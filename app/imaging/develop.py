"""The way of one image from uploaded bytes to stored bytes, its order visible in one function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.imaging import gif, heif, jpeg, png, webp
from app.imaging.decode import decode, stored_orientation
from app.imaging.encode import Decoded, encode, must_be_encoded
from app.imaging.formats import ImageFormat, sniff
from app.imaging.metadata import Stripped
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from app.imaging.limits import ImageLimits

_STRIP = {
    ImageFormat.JPEG: jpeg.strip,
    ImageFormat.PNG: png.strip,
    ImageFormat.WEBP: webp.strip,
    ImageFormat.GIF: gif.strip,
    ImageFormat.AVIF: heif.strip,
    ImageFormat.HEIC: heif.strip,
}

_WORTHWHILE = 0.98
"""What a new encoding may have of the upload's size: for less than 2 %, what lies in the upload is
the better picture. An image that was developed before stays as it is."""


@dataclass(frozen=True, slots=True)
class Developed:
    """An image as it is stored and served.

    Args:
        data: a complete file, without metadata.
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


def develop(
    data: bytes,
    limits: ImageLimits,
    profile: Profile = Profile.BALANCED,
    *,
    keep_metadata: bool = False,
) -> Developed:
    """Check an upload, and make of it what is stored: upright, smaller, without metadata.

    With `keep_metadata`, which goes with the profile `original` alone, metadata stays where it is.

    Blocks for up to seconds and takes hundreds of megabytes: runs in a codec worker.

    Raises:
        UnsupportedFormatError: not a format that is taken.
        ImageLimitError: beyond the limits, or out of the worker's memory.
        InvalidImageError: truncated, damaged, or not what it says; or not possible in the profile.
    """
    decoded = examine(data, limits)
    unkept = must_be_encoded(decoded, profile)
    candidates = list(encode(decoded, profile))
    best = min(candidates, key=lambda each: len(each.data), default=None)
    size = decoded.size
    kept = data[: decoded.stripped.end] if keep_metadata else decoded.stripped.data
    stored, codec, image_format = kept, "original", decoded.image_format
    if best is not None and (unkept or len(best.data) < _WORTHWHILE * len(stored)):
        stored, codec, image_format, size = best.data, best.codec, best.image_format, best.size
    return Developed(
        data=stored,
        media_type=image_format.media_type,
        width=size[0],
        height=size[1],
        frame_count=decoded.frame_count,
        profile=profile.value,
        kept=best is None or stored is not best.data,
        codec=codec,
    )


def examine(data: bytes, limits: ImageLimits) -> Decoded:
    """Tell the format, strip the container and decode every frame; raises what `develop` does."""
    image_format = sniff(data)
    strip = _STRIP.get(image_format)
    stripped = strip(data) if strip else Stripped(data, None, 1, len(data), None)
    image = decode(stripped, image_format, limits)
    if stripped.size is None:
        stripped = replace(stripped, orientation=stored_orientation(image, image_format))
    return Decoded(image, stripped, image_format)
