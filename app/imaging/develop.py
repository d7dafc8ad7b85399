"""The processing of one image, from uploaded to stored bytes, in order in one function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.codecs import score
from app.imaging.colours import in_rgb
from app.imaging.containers import bmp, gif, heif, jpeg, png, tiff, webp
from app.imaging.decode import decode, stored_orientation, upright
from app.imaging.encode import blocks_of_new, encode, must_be_encoded
from app.imaging.formats import ImageFormat
from app.imaging.info import ImageInfo
from app.imaging.metadata.metadata import Blocks, Metadata, MetadataOption, Stripped
from app.imaging.picture import Candidate, Decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.imaging.limits import ImageLimits
    from app.imaging.profiles import Recipe


def _without(data: bytes, _: Blocks) -> bytes:
    return data


_STRIP: dict[ImageFormat, Callable[[bytes], Stripped]] = {
    ImageFormat.JPEG: jpeg.strip,
    ImageFormat.PNG: png.strip,
    ImageFormat.WEBP: webp.strip,
    ImageFormat.GIF: gif.strip,
    ImageFormat.AVIF: heif.strip,
    ImageFormat.HEIC: heif.strip,
    ImageFormat.TIFF: tiff.strip,
    ImageFormat.BMP: bmp.strip,
}
_ATTACH: dict[ImageFormat, Callable[[bytes, Blocks], bytes]] = {
    ImageFormat.JPEG: jpeg.attach,
    ImageFormat.PNG: png.attach,
    ImageFormat.WEBP: webp.attach,
    ImageFormat.AVIF: heif.attach,
    ImageFormat.HEIC: heif.attach,
    # GIF has no place for it; the other two are never stored.
    ImageFormat.GIF: _without,
    ImageFormat.TIFF: _without,
    ImageFormat.BMP: _without,
}

# A new encoding must be below this share of the upload's size: for a gain under 2 %, the upload is
# the better picture, and an image that was developed before stays as it is.
WORTHWHILE = 0.98


@dataclass(frozen=True, slots=True)
class Developed:
    """A stored image: its bytes, packed by `info.content_encoding`, and its properties.

    Until the gateway has it, the digests among them are empty: a worker would not be believed.
    """

    data: bytes
    info: ImageInfo


def develop(
    data: bytes, image_format: ImageFormat, limits: ImageLimits, recipe: Recipe
) -> Developed:
    """Check an upload, and make the image to store of it, as the recipe says.

    `app.imaging.packing` may pack it better. Blocks for up to seconds and takes hundreds of
    megabytes: runs in a codec worker.

    Args:
        data: The upload.
        image_format: Its format, from `sniff`.
        limits: The most that it may ask of this worker.
        recipe: Its profile and options.

    Raises:
        ImageLimitError: Beyond the limits, or out of the worker's memory.
        InvalidImageError: Truncated, damaged, or not what it says; or not possible in the profile.
    """
    decoded = examine(data, image_format, limits)
    kept = _keep(data, decoded, recipe)
    served = _choose(kept, decoded, recipe)
    info = ImageInfo(
        content_type=served.image_format.content_type,
        content_length=len(served.data),
        digest="",
        width=served.size[0],
        height=served.size[1],
        frame_count=decoded.frame_count,
        filename=None,
        profile=recipe.profile.value,
        codec=served.codec,
        kept=served is kept,
        received_bytes=len(data),
        received_digest="",
        stored_bytes=len(served.data),
        metadata_removed=_removed(decoded.stripped.metadata, served),
        quality=_measure(decoded, served, limits) if recipe.measure else None,
    )
    return Developed(served.data, info)


def examine(data: bytes, image_format: ImageFormat, limits: ImageLimits) -> Decoded:
    """Strip the container and decode every frame; raises as `develop` does."""
    stripped = _STRIP[image_format](data)
    limits.check_metadata(stripped.metadata.size_bytes)
    image = decode(stripped, image_format, limits)
    if stripped.size is None and image_format is not ImageFormat.TIFF:
        stripped = replace(stripped, orientation=stored_orientation(image, image_format))
    return Decoded(image, stripped, image_format)


def _keep(data: bytes, decoded: Decoded, recipe: Recipe) -> Candidate:
    """Return the upload itself with the metadata that stays; nothing of it is encoded again."""
    stripped = decoded.stripped
    if recipe.metadata is MetadataOption.KEEP:
        kept = data[: stripped.end]
        if decoded.image_format is ImageFormat.JPEG and len(kept) < len(data):
            kept = jpeg.of_one_picture(kept)
    else:
        size = decoded.image.size
        # An orientation that the decoder says is a property of the picture, not of EXIF.
        orientation = 1 if stripped.size is None else stripped.orientation
        blocks = stripped.metadata.chosen(recipe.metadata, orientation, size)
        kept = _ATTACH[decoded.image_format](stripped.data, blocks)
    return Candidate(kept, "original", decoded.image_format, decoded.size, exact=True)


def _choose(kept: Candidate, decoded: Decoded, recipe: Recipe) -> Candidate:
    """Return the smallest file that the profile allows, or the upload where that saves nothing."""
    unkept = must_be_encoded(decoded, recipe)
    candidates = [label(each, decoded, recipe) for each in encode(decoded, recipe)]
    best = min(candidates, key=lambda each: len(each.data), default=kept)
    return best if unkept or len(best.data) < WORTHWHILE * len(kept.data) else kept


def label(file: Candidate, decoded: Decoded, recipe: Recipe) -> Candidate:
    """Return a new encoding with the metadata that stays."""
    data, resolution = file.data, decoded.resolution
    if resolution and file.image_format is ImageFormat.JPEG:
        data = jpeg.with_resolution(data, resolution)
    elif resolution and file.image_format is ImageFormat.PNG:
        data = png.with_resolution(data, resolution)
    blocks = blocks_of_new(file.image_format, decoded, recipe, file.size)
    return replace(file, data=_ATTACH[file.image_format](data, blocks))


def _removed(metadata: Metadata, served: Candidate) -> tuple[str, ...]:
    """Name the metadata of the upload that is not found in the bytes of the served file."""
    left = _STRIP[served.image_format](served.data).metadata
    return tuple(sorted(metadata.removed(left)))


def _measure(decoded: Decoded, served: Candidate, limits: ImageLimits) -> float | None:
    if served.exact:
        return score.SAME
    try:
        before, _ = in_rgb(upright(decoded.image, decoded.stripped.orientation))
    except InvalidImageError:  # CMYK without a profile
        return None
    after, _ = in_rgb(examine(served.data, served.image_format, limits).image)
    return score.score(before, after)
