"""The new encodings of a decoded image that each profile allows.

- *original*, *archive*: none; the upload is kept, less its metadata.
- *lossless*: TIFF and BMP become PNG; they and PNG become WebP for clients that accept it.
- *balanced*: JPEG, and photos of HEIC, TIFF and BMP, become JPEG of quality 85; graphics become
  PNG, and PNG stays, optimized. Compact images stay: a JPEG of lower quality, optimized;
  animations, because Pillow merges frames and rounds durations; GIF, WebP and AVIF, because a
  second pass gains little for a generation of quality (lossy) or for seconds (lossless).
- *small*: as *balanced*, at most 2,048 pixels on a side, and photos of quality 70, those of PNG
  included; photos become AVIF where that is allowed.

A photo that is transparent becomes WebP in place of JPEG.

HEIC, which few clients show, and JPEG of arithmetic coding, which no browser does, become JPEG in
the last two. An image whose colours the new file
could not express is kept in all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from app.errors import InvalidImageError
from app.imaging.codecs import optimize
from app.imaging.codecs.optimize import EXACT_LEVEL, QUICK_LEVEL
from app.imaging.codecs.pillow import QUALITY, avif_of, jpeg_of, png_of, save, webp_of
from app.imaging.colours import colour_space, icc_profile, in_rgb
from app.imaging.containers import png
from app.imaging.decode import upright
from app.imaging.formats import STORED, ImageFormat
from app.imaging.picture import Candidate, Decoded
from app.imaging.profiles import Profile, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.imaging.metadata.metadata import Blocks

_SMALL_SIDE = 2048

# Any screenshot. Deflate at level 6 takes up to 0.85 s/MP on photos: a third of the deadline.
_PNG_MAX_PIXELS = 4_200_000

# Up to here both a PNG and a WebP are tried, at 3.6 s a megapixel. A larger WebP was a tenth to a
# third smaller than the PNG of every photo and screenshot that was tried.
_BOTH_MAX_PIXELS = 1_000_000

# As JPEG, photos in PNG came to 0.06 of their size; text on many colours to half, hardly legible.
_PHOTO_SHARE = 0.3

_WEBP_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_COMPACT = frozenset({ImageFormat.GIF, ImageFormat.WEBP, ImageFormat.AVIF})
# These say it in no other place.
_RESOLUTION_IN_EXIF = frozenset({ImageFormat.WEBP, ImageFormat.AVIF})
_ENCODED_ALWAYS = frozenset(ImageFormat) - frozenset(STORED)
_ALWAYS_KEPT = frozenset({Profile.ORIGINAL, Profile.ARCHIVE})


def must_be_encoded(decoded: Decoded, profile: Profile) -> bool:
    """Tell whether the upload cannot be kept as it is.

    Raises:
        InvalidImageError: The profile requires that it is kept.
    """
    image_format = decoded.image_format
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
        return profile in QUALITY and decoded.is_still and not decoded.has_unusual_colours
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
        yield from _lossless(decoded, recipe)
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


def optimizing_level(decoded: Decoded, recipe: Recipe) -> int:
    """Return the level at which a kept upload is optimized; 0 for not at all."""
    is_png = decoded.image_format is ImageFormat.PNG
    match recipe.profile:
        case Profile.LOSSLESS:
            return EXACT_LEVEL if _tries_png(decoded, recipe) else 0
        case Profile.BALANCED:
            return QUICK_LEVEL if is_png or decoded.is_coarse_jpeg else 0
        case Profile.SMALL:
            return QUICK_LEVEL if is_png and not _is_too_large(decoded) else 0
    return 0


def _is_too_large(decoded: Decoded) -> bool:
    return max(decoded.image.size) > _SMALL_SIDE


def _tries_png(decoded: Decoded, recipe: Recipe) -> bool:
    """Tell whether there is time for a PNG beside a WebP."""
    small = _pixels(decoded.image) <= _BOTH_MAX_PIXELS
    return small or not (recipe.webp and _fits_webp(decoded))


def _lossless(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    if decoded.image_format in _ENCODED_ALWAYS and _tries_png(decoded, recipe):
        yield _as_png(decoded)
    if recipe.webp and _fits_webp(decoded):
        picture, profile = _rgb_upright(decoded)
        options: dict[str, Any] = {"lossless": True, "exact": True, "method": 4}
        data = save(picture, "WEBP", icc_profile=profile, **options)
        yield Candidate(data, "webp lossless", ImageFormat.WEBP, picture.size, exact=True)


def _fits_webp(decoded: Decoded) -> bool:
    """Tell whether a WebP can be lossless here: eight bits, usual colours, within the time."""
    image = decoded.image
    if decoded.image_format is ImageFormat.PNG:
        same = decoded.is_rewritable_png and not decoded.has_unusual_colours
    else:
        same = decoded.image_format in _ENCODED_ALWAYS
    same = same and colour_space(image) in {b"", b"RGB "}
    return (
        same
        and image.mode in _WEBP_MODES
        and _pixels(image) <= optimize.MAX_PNG_PIXELS[EXACT_LEVEL]
    )


def _lossy(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    if decoded.image_format is ImageFormat.PNG:
        yield from _smaller_png(decoded, recipe)
    elif decoded.has_unusual_colours:
        return
    elif recipe.profile is Profile.BALANCED and decoded.is_coarse_jpeg:
        if decoded.is_seen_by_few or not optimize.can_optimize(ImageFormat.JPEG):
            yield _with_own_tables(decoded)
    elif decoded.is_graphic and decoded.image_format is not ImageFormat.JPEG:
        yield _as_png(decoded)
    else:
        yield _as_photo(decoded, recipe)


def _smaller_png(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    """Yield a lossy file of a photo; otherwise a PNG, unless oxipng optimizes the upload itself."""
    image = decoded.image
    if recipe.profile is Profile.SMALL and not (decoded.is_graphic or decoded.has_unusual_colours):
        photo = _as_photo(decoded, recipe)
        if _pays_as_photo(photo, decoded):
            yield photo
    can = _pixels(image) <= _PNG_MAX_PIXELS and decoded.is_rewritable_png
    if can and not optimize.can_optimize(ImageFormat.PNG):
        yield _packed_png(decoded)


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
    picture.thumbnail((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.LANCZOS)
    # A JPEG of a compact image would be larger.
    if recipe.avif:
        yield _avif_of(picture, profile, decoded, recipe)
    elif decoded.image_format in _COMPACT:
        yield webp_of(picture, profile, Profile.SMALL)
    else:
        yield _small_of(picture, profile, decoded)


def _small_of(picture: Image.Image, icc: bytes | None, decoded: Decoded) -> Candidate:
    """Return a photo, or a PNG of a graphic, unless that is larger than the upload."""
    photo = _photo_of(picture, icc, Profile.SMALL)
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
        picture, profile = _upright(decoded), icc_profile(decoded.image)
    else:
        picture, profile = _rgb_upright(decoded)
    if avif:
        return _avif_of(picture, profile, decoded, recipe)
    return _photo_of(picture, profile, recipe.profile)


def _photo_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    """Return a JPEG, or a WebP where the picture is transparent."""
    if picture.mode == "RGBA":
        return webp_of(picture, icc, profile)
    return jpeg_of(picture, icc, profile)


def _avif_of(
    picture: Image.Image, icc: bytes | None, decoded: Decoded, recipe: Recipe
) -> Candidate:
    blocks = blocks_of_new(ImageFormat.AVIF, decoded, recipe, picture.size)
    return avif_of(picture, icc, blocks)


def _packed_png(decoded: Decoded) -> Candidate:
    data = save(_upright(decoded), "PNG", compress_level=6)
    data = png.with_appearance_of(decoded.stripped.data, data)
    return Candidate(data, "png deflate 6", ImageFormat.PNG, decoded.size, exact=True)


def _as_png(decoded: Decoded) -> Candidate:
    exact = decoded.image.mode in _PNG_MODES
    if exact:
        picture, profile = _upright(decoded), icc_profile(decoded.image)
    else:
        picture, profile = _rgb_upright(decoded)
    return png_of(picture, profile, exact=exact)


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _upright(decoded: Decoded) -> Image.Image:
    return upright(decoded.image, decoded.stripped.orientation)


def _rgb_upright(decoded: Decoded) -> tuple[Image.Image, bytes | None]:
    picture, profile = in_rgb(decoded.image)
    return upright(picture, decoded.stripped.orientation), profile
