"""What each profile makes of a decoded image.

- *original*, *archive*: nothing; the upload is kept, less its metadata.
- *lossless*: TIFF and BMP become PNG; they and PNG become WebP for clients that take it.
- *balanced*: JPEG, and photos of HEIC, TIFF and BMP, become JPEG of quality 85; graphics become
  PNG, and PNG stays, packed better. What is compact already stays: a JPEG of lower quality, packed
  better; animations, because Pillow merges frames and rounds durations; GIF, WebP and AVIF, because
  a second pass gains little for a generation of quality (lossy) or for seconds (lossless).
- *small*: as *balanced*, at most 2,048 pixels on a side, and photos of quality 70, those of PNG
  included; photos become AVIF where that is allowed.

A photo that is transparent becomes WebP in place of JPEG.

HEIC, which few clients show, becomes JPEG in the last two. What says its colours in a way that
the new file could not say is kept in all of them.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from app.errors import ImageLimitError, InvalidImageError
from app.imaging import jpegli, optimize, png
from app.imaging.colours import colour_space, icc_profile, in_rgb
from app.imaging.decode import upright
from app.imaging.formats import STORED, ImageFormat
from app.imaging.picture import Candidate, Decoded
from app.imaging.profiles import Profile, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator


_QUALITY = {Profile.BALANCED: 85, Profile.SMALL: 70}
"""Over twelve camera photos, balanced: a median SSIMULACRA2 of 84; the aim is 80."""

_SMALL_SIDE = 2048
_WEBP_QUALITY = {Profile.BALANCED: 90, Profile.SMALL: 75}
_AVIF: dict[str, Any] = {"quality": 55, "speed": 8}
"""As near as a JPEG of quality 70 in seven tenths of its bytes: a median SSIMULACRA2 of 71."""

_PNG_MAX_PIXELS = 4_200_000
"""Any screenshot. Deflate at level 6 takes up to 0.85 s/MP on photos: a third of the deadline."""

_BOTH_MAX_PIXELS = 1_000_000
"""Up to here both a PNG and a WebP are tried, at 3.6 s a megapixel. A larger WebP was a tenth to a
third smaller than the PNG of every photo and screenshot that was tried."""

_QUICK_LEVEL, _EXACT_LEVEL = 1, 2

_WEBP_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_COMPACT = frozenset({ImageFormat.GIF, ImageFormat.WEBP, ImageFormat.AVIF})
_ENCODED_ALWAYS = frozenset(ImageFormat) - frozenset(STORED)
_KEPT = frozenset({Profile.ORIGINAL, Profile.ARCHIVE})


def must_be_encoded(decoded: Decoded, profile: Profile) -> bool:
    """Tell whether the upload cannot be kept as it is.

    Raises:
        InvalidImageError: and yet the profile asks for that.
    """
    image_format = decoded.image_format
    if image_format in _ENCODED_ALWAYS and profile in _KEPT:
        raise InvalidImageError(
            f"What a {image_format.label} holds beside the picture cannot be told from it without"
            " encoding it again: use the profile lossless."
        )
    if profile is Profile.LOSSLESS and decoded.is_deep_tiff:
        raise InvalidImageError(
            "It has more than 8 bits a sample, of which the decoder gives 8: they would be lost."
        )
    if image_format is ImageFormat.HEIC:
        return profile in _QUALITY and decoded.is_still and not decoded.has_unusual_colours
    return image_format in _ENCODED_ALWAYS


def encode(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    """Yield what could be stored in place of the upload: upright, and without metadata.

    Raises:
        ImageLimitError: It takes more memory than allowed.
        InvalidImageError: Its colours have no equivalent in a format that browsers show.
    """
    profile = recipe.profile
    if profile in _KEPT or not decoded.is_still:
        return
    if profile is Profile.LOSSLESS:
        yield from _lossless(decoded, recipe)
    elif profile is Profile.SMALL and _is_too_large(decoded):
        if not decoded.has_unusual_colours:
            yield from _resized(decoded, recipe)
    elif decoded.image_format not in _COMPACT:
        yield from _lossy(decoded, recipe)


def packing_level(decoded: Decoded, recipe: Recipe) -> int:
    """Return how hard what is kept is to be packed, every pixel the same; 0 for not at all."""
    is_png = decoded.image_format is ImageFormat.PNG
    match recipe.profile:
        case Profile.LOSSLESS:
            return _EXACT_LEVEL if _tries_png(decoded, recipe) else 0
        case Profile.BALANCED:
            return _QUICK_LEVEL if is_png or decoded.is_coarse_jpeg else 0
        case Profile.SMALL:
            return _QUICK_LEVEL if is_png and not _is_too_large(decoded) else 0
    return 0


def _is_too_large(decoded: Decoded) -> bool:
    return max(decoded.image.size) > _SMALL_SIDE


def _tries_png(decoded: Decoded, recipe: Recipe) -> bool:
    """Tell whether there is the time for it beside a WebP."""
    small = _pixels(decoded.image) <= _BOTH_MAX_PIXELS
    return small or not (recipe.webp and _fits_webp(decoded))


def _lossless(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    if decoded.image_format in _ENCODED_ALWAYS and _tries_png(decoded, recipe):
        yield _as_png(decoded)
    if recipe.webp and _fits_webp(decoded):
        picture, profile = in_rgb(decoded.image)
        picture = upright(picture, decoded.stripped.orientation)
        options: dict[str, Any] = {"lossless": True, "exact": True, "method": 4}
        data = _save(picture, "WEBP", icc_profile=profile, **options)
        yield Candidate(data, "webp lossless", ImageFormat.WEBP, picture.size, exact=True)


def _fits_webp(decoded: Decoded) -> bool:
    """Tell whether a WebP would say the same: eight bits, usual colours, within the time."""
    image = decoded.image
    if decoded.image_format is ImageFormat.PNG:
        same = png.rewritable(decoded.stripped.data) and not decoded.has_unusual_colours
    else:
        same = decoded.image_format in _ENCODED_ALWAYS
    same = same and colour_space(image) in {b"", b"RGB "}
    return (
        same
        and image.mode in _WEBP_MODES
        and _pixels(image) <= optimize.MAX_PNG_PIXELS[_EXACT_LEVEL]
    )


def _lossy(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    if decoded.image_format is ImageFormat.PNG:
        yield from _smaller_png(decoded, recipe)
    elif decoded.has_unusual_colours:
        return
    elif recipe.profile is Profile.BALANCED and decoded.is_coarse_jpeg:
        if not optimize.packs(ImageFormat.JPEG):
            yield _with_own_tables(decoded)
    elif decoded.is_graphic and decoded.image_format is not ImageFormat.JPEG:
        yield _as_png(decoded)
    else:
        yield _as_photo(decoded, recipe)


def _smaller_png(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    """Yield a photo that is one, and otherwise a PNG, where none is packed without decoding."""
    image = decoded.image
    if recipe.profile is Profile.SMALL and not (decoded.is_graphic or decoded.has_unusual_colours):
        yield _as_photo(decoded, recipe)
    can = _pixels(image) <= _PNG_MAX_PIXELS and png.rewritable(decoded.stripped.data)
    if can and not optimize.packs(ImageFormat.PNG):
        yield _packed_png(decoded)


def _with_own_tables(decoded: Decoded) -> Candidate:
    """Encode with the upload's own quantisation tables.

    They give back nearly its own coefficients: smaller and closer to it than quality 85 would be (a
    photo of quality 79: -11 % and SSIMULACRA2 94, against -7 % and 86).
    """
    image = decoded.image
    assert isinstance(image, JpegImageFile)  # noqa: S101 - of whose tables is the talk
    options: dict[str, Any] = {"qtables": image.quantization, "subsampling": get_sampling(image)}
    options |= {"icc_profile": icc_profile(image), "progressive": True}
    data = _save(_upright(decoded), "JPEG", **options)
    return Candidate(data, "jpeg own tables progressive", ImageFormat.JPEG, decoded.size)


def _resized(decoded: Decoded, recipe: Recipe) -> Iterator[Candidate]:
    """Make it fit into 2,048 pixels."""
    picture, profile = in_rgb(decoded.image)
    picture = upright(picture, decoded.stripped.orientation)
    picture.thumbnail((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.LANCZOS)
    # A JPEG of what is compact already would be larger.
    if recipe.avif:
        yield _avif_of(picture, profile, decoded, recipe)
    elif decoded.image_format in _COMPACT:
        yield _webp_of(picture, profile, Profile.SMALL)
    elif decoded.is_graphic and decoded.image.mode != "I;16":
        file = _png_of(picture, profile)
        # A photo of few colours is no graphic: without them it is large.
        smaller = len(file.data) < len(decoded.stripped.data)
        yield file if smaller else _photo_of(picture, profile, Profile.SMALL)
    else:
        yield _photo_of(picture, profile, Profile.SMALL)


def _as_photo(decoded: Decoded, recipe: Recipe) -> Candidate:
    avif = recipe.avif and recipe.profile is Profile.SMALL
    if decoded.image.mode == "L" and not avif:
        picture, profile = _upright(decoded), icc_profile(decoded.image)
    else:
        picture, profile = in_rgb(decoded.image)
        picture = upright(picture, decoded.stripped.orientation)
    if avif:
        return _avif_of(picture, profile, decoded, recipe)
    return _photo_of(picture, profile, recipe.profile)


def _photo_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    """Return a JPEG, or a WebP of what is transparent."""
    if picture.mode == "RGBA":
        return _webp_of(picture, icc, profile)
    return _jpeg_of(picture, icc, _QUALITY[profile])


def _webp_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    quality = _WEBP_QUALITY[profile]
    data = _save(picture, "WEBP", quality=quality, method=4, icc_profile=icc)
    return Candidate(data, f"webp q{quality}", ImageFormat.WEBP, picture.size)


def _avif_of(
    picture: Image.Image, profile: bytes | None, decoded: Decoded, recipe: Recipe
) -> Candidate:
    # Its parts are found by their place: what stays of metadata has to go in now.
    metadata = decoded.stripped.metadata.chosen(recipe.metadata, 1, picture.size)
    told = {"exif": metadata.exif, "xmp": metadata.xmp}
    told = {name: block for name, block in told.items() if block}
    data = _save(picture, "AVIF", icc_profile=profile, **_AVIF, **told)
    codec = f"avif q{_AVIF['quality']} speed {_AVIF['speed']}"
    return Candidate(data, codec, ImageFormat.AVIF, picture.size)


def _jpeg_of(picture: Image.Image, profile: bytes | None, quality: int) -> Candidate:
    if picture.mode == "RGB" and jpegli.AVAILABLE:
        data, codec = jpegli.encode(picture, quality, profile), f"jpegli q{quality}"
    else:
        options: dict[str, Any] = {"quality": quality, "subsampling": "4:2:0", "progressive": True}
        data = _save(picture, "JPEG", icc_profile=profile, **options)
        codec = f"jpeg q{quality} progressive"
    return Candidate(data, codec, ImageFormat.JPEG, picture.size)


def _packed_png(decoded: Decoded) -> Candidate:
    data = _save(_upright(decoded), "PNG", compress_level=6)
    data = png.with_appearance_of(decoded.stripped.data, data)
    return Candidate(data, "png deflate 6", ImageFormat.PNG, decoded.size, exact=True)


def _as_png(decoded: Decoded) -> Candidate:
    exact = decoded.image.mode in _PNG_MODES
    if exact:
        picture, profile = _upright(decoded), icc_profile(decoded.image)
    else:
        picture, profile = in_rgb(decoded.image)
        picture = upright(picture, decoded.stripped.orientation)
    return _png_of(picture, profile, exact=exact)


def _png_of(picture: Image.Image, icc: bytes | None, *, exact: bool = False) -> Candidate:
    data = _save(picture, "PNG", icc_profile=icc, compress_level=6)
    file = Candidate(data, "png deflate 6", ImageFormat.PNG, picture.size, exact)
    packed = optimize.optimized(file, _pixels(picture), _EXACT_LEVEL)
    return replace(packed[0], exact=exact) if packed else file


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _upright(decoded: Decoded) -> Image.Image:
    return upright(decoded.image, decoded.stripped.orientation)


def _save(picture: Image.Image, format_name: str, **options: Any) -> bytes:
    output = io.BytesIO()
    # `None` also overrules the profile that Pillow would take from `image.info`.
    options.setdefault("icc_profile", None)
    try:
        picture.save(output, format_name, **options)
    except MemoryError as error:
        raise ImageLimitError("Encoding the image takes more memory than allowed.") from error
    return output.getvalue()
