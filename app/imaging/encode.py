"""The new encodings of a decoded image that each profile allows.

- *original*, *archive*: none; the upload is kept, less its metadata.
- *lossless*: TIFF and BMP become PNG.
- *balanced*: JPEG, and photos of HEIC, TIFF and BMP, become JPEG of quality 85; graphics become
  PNG. Where colours that lie next to each other differ sharply, as in red text, they are not mixed:
  a JPEG is kept, one above quality 95 and a HEIC become JPEG of that quality without subsampling,
  TIFF and BMP become PNG. Compact images stay: PNG; a JPEG of lower quality; animations, because
  Pillow merges frames and rounds durations; GIF, WebP and AVIF, because a second pass gains little
  for a generation of quality (lossy) or for seconds (lossless).
- *small*: as *balanced*, at most 2,048 pixels on a side, and photos of quality 70, those of PNG
  included; photos become AVIF where that is allowed.

A photo that is transparent becomes WebP in place of JPEG.

HEIC, which few clients show, and JPEG of arithmetic coding, which no browser does, become JPEG in
the last two, but for a client that accepts HEIC. An image whose colours the new file could not
express is kept in all of them. What takes long, and saves bytes alone, is left to
`app.imaging.packing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from app.errors import InvalidImageError
from app.imaging.codecs.pillow import (
    QUALITY,
    avif_of,
    jpeg_of,
    png_of,
    save,
    sharp_jpeg_of,
    webp_of,
)
from app.imaging.colours import icc_profile
from app.imaging.decode import upright
from app.imaging.edges import has_sharp_colours
from app.imaging.formats import STORED, ImageFormat
from app.imaging.picture import Candidate, Decoded
from app.imaging.profiles import Profile, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.imaging.metadata.metadata import Blocks

_SMALL_SIDE = 2048

# As JPEG, photos in PNG came to 0.06 of their size; text on many colours to half, hardly legible.
_PHOTO_SHARE = 0.3

_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_COMPACT = frozenset({ImageFormat.GIF, ImageFormat.WEBP, ImageFormat.AVIF})
# These say it in no other place.
_RESOLUTION_IN_EXIF = frozenset({ImageFormat.WEBP, ImageFormat.AVIF})
_ENCODED_ALWAYS = frozenset(ImageFormat) - frozenset(STORED)
_ALWAYS_KEPT = frozenset({Profile.ORIGINAL, Profile.ARCHIVE})


def must_be_encoded(decoded: Decoded, recipe: Recipe) -> bool:
    """Tell whether the upload cannot be kept as it is.

    Raises:
        InvalidImageError: The profile requires that it is kept.
    """
    image_format, profile = decoded.image_format, recipe.profile
    if image_format in _ENCODED_ALWAYS and profile in _ALWAYS_KEPT:
        raise InvalidImageError(
            f"The metadata of a {image_format.label} cannot be told from its picture without"
            " encoding it again: use the profile lossless."
        )
    if profile is Profile.LOSSLESS and decoded.is_deep_tiff:
        raise InvalidImageError(
            "The image has more than 8 bits a sample, of which only 8 are decoded: the others would"
            " be lost."
        )
    if decoded.is_seen_by_few:
        may = profile in QUALITY and decoded.is_still and not decoded.has_unusual_colours
        return may and not (recipe.heic and image_format is ImageFormat.HEIC)
    return image_format in _ENCODED_ALWAYS


def encode(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    """Yield the files that could be stored in place of the upload, upright.

    Raises:
        ImageLimitError: It takes more memory than allowed.
        InvalidImageError: Its colours have no equivalent in a format that browsers show.
    """
    profile = recipe.profile
    if profile in _ALWAYS_KEPT or not decoded.is_still:
        return
    if profile is Profile.LOSSLESS:
        if decoded.image_format in _ENCODED_ALWAYS:
            yield _as_png(decoded)
    elif profile is Profile.SMALL and _is_too_large(decoded):
        if not decoded.has_unusual_colours:
            yield from _resized(decoded, recipe)
    elif decoded.image_format not in _COMPACT:
        yield from _lossy(decoded, recipe)


def blocks_of_new(
    image_format: ImageFormat, decoded: Decoded, recipe: Recipe, size: tuple[int, int]
) -> Blocks:
    """Return the metadata that a new encoding of this format and size has."""
    resolution = decoded.resolution
    if resolution and (resolution.is_usual or image_format not in _RESOLUTION_IN_EXIF):
        resolution = None
    return decoded.stripped.metadata.chosen(
        recipe.metadata, 1, size, resolution, turned=decoded.is_turned
    )


def _is_too_large(decoded: Decoded) -> bool:
    return max(decoded.image.size) > _SMALL_SIDE


def _lossy(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    balanced = recipe.profile is Profile.BALANCED
    is_jpeg = decoded.image_format is ImageFormat.JPEG
    if decoded.has_unusual_colours:
        return
    if decoded.image_format is ImageFormat.PNG:
        if not balanced:
            yield from _photo_of_png(decoded, recipe)
    elif is_jpeg and balanced and _is_near_enough(decoded):
        if decoded.is_seen_by_few:
            yield _with_own_tables(decoded)
    elif not is_jpeg and (decoded.is_graphic or _is_sharp_scan(decoded)):
        yield _as_png(decoded)
        if not (balanced or decoded.is_graphic):
            yield _as_photo(decoded, recipe)
    else:
        yield _as_photo(decoded, recipe)


def _is_near_enough(decoded: Decoded) -> bool:
    """Tell whether a new JPEG would lose quality for few bytes, or for none."""
    if decoded.is_coarse_jpeg:
        return True
    return decoded.has_sharp_colours and not decoded.is_fine_jpeg


def _is_sharp_scan(decoded: Decoded) -> bool:
    return decoded.image_format in _ENCODED_ALWAYS and decoded.has_sharp_colours


def _photo_of_png(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    if not decoded.is_graphic and _pays_as_photo(photo := _as_photo(decoded, recipe), decoded):
        yield photo


def _with_own_tables(decoded: Decoded) -> Candidate:
    """Encode with the upload's own quantisation tables.

    They reproduce nearly its own coefficients: smaller and closer to it than quality 85 would be (a
    photo of quality 79: -11 % and SSIMULACRA2 94, against -7 % and 86).
    """
    image = decoded.image
    assert isinstance(image, JpegImageFile)  # noqa: S101 - only a JPEG is coarse
    options: dict[str, Any] = {"qtables": image.quantization, "subsampling": get_sampling(image)}
    options |= {"icc_profile": icc_profile(image), "progressive": True}
    data = save(_upright(decoded), "JPEG", **options)
    return Candidate(data, "jpeg own tables progressive", ImageFormat.JPEG, decoded.size)


def _resized(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    """Yield the picture, made to fit into 2,048 pixels."""
    picture, profile = _rgb_upright(decoded)
    picture = picture.copy()
    picture.thumbnail((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.LANCZOS)
    # A JPEG of a compact image would be larger.
    if recipe.avif:
        yield _avif_of(picture, profile, decoded, recipe)
    elif decoded.image_format in _COMPACT:
        yield webp_of(picture, profile, Profile.SMALL, sharp=has_sharp_colours(picture))
    else:
        yield _small_of(picture, profile, decoded)


def _small_of(picture: Image.Image, icc: bytes | None, decoded: Decoded) -> Candidate:
    """Return a photo, or a PNG of a graphic, unless that is larger than the upload."""
    photo = _photo_of(picture, icc, Profile.SMALL, sharp=has_sharp_colours(picture))
    drawn = decoded.is_graphic or not _pays_as_photo(photo, decoded)
    if not drawn or decoded.image.mode == "I;16":
        return photo
    file = png_of(picture, icc)
    return file if len(file.data) < len(decoded.stripped.data) else photo


def _pays_as_photo(photo: Candidate, decoded: Decoded) -> bool:
    """Tell whether a picture is a photo: encoded as one, a PNG shrinks below `_PHOTO_SHARE`."""
    share = _PHOTO_SHARE if decoded.image_format is ImageFormat.PNG else 1
    return len(photo.data) < share * len(decoded.stripped.data)


def _as_photo(decoded: Decoded, recipe: Recipe) -> Candidate:
    avif = recipe.avif and recipe.profile is Profile.SMALL
    if decoded.image.mode == "L" and not avif:
        return jpeg_of(_upright(decoded), icc_profile(decoded.image), recipe.profile)
    picture, profile = _rgb_upright(decoded)
    if avif:
        return _avif_of(picture, profile, decoded, recipe)
    return _photo_of(picture, profile, recipe.profile, sharp=decoded.has_sharp_colours)


def _photo_of(
    picture: Image.Image, icc: bytes | None, profile: Profile, *, sharp: bool
) -> Candidate:
    """Return a JPEG, or a WebP where the picture is transparent."""
    if picture.mode == "RGBA":
        return webp_of(picture, icc, profile, sharp=sharp)
    return (sharp_jpeg_of if sharp else jpeg_of)(picture, icc, profile)


def _avif_of(
    picture: Image.Image, icc: bytes | None, decoded: Decoded, recipe: Recipe
) -> Candidate:
    blocks = blocks_of_new(ImageFormat.AVIF, decoded, recipe, picture.size)
    return avif_of(picture, icc, blocks, sharp=has_sharp_colours(picture))


def _as_png(decoded: Decoded) -> Candidate:
    exact = decoded.image.mode in _PNG_MODES
    if exact:
        picture, profile = _upright(decoded), icc_profile(decoded.image)
    else:
        picture, profile = _rgb_upright(decoded)
    return png_of(picture, profile, exact=exact)


def _upright(decoded: Decoded) -> Image.Image:
    return upright(decoded.image, decoded.stripped.orientation)


def _rgb_upright(decoded: Decoded) -> tuple[Image.Image, bytes | None]:
    picture, profile = decoded.in_rgb
    return upright(picture, decoded.stripped.orientation), profile
