"""Packing: the same picture in fewer bytes, which takes long, and which an upload can do without.

It is a task of its own, after the image that is stored otherwise: a packer that fails, that ends
its process or uses up its time costs no upload. Packers get files that were checked, with the
metadata that stays, and may change no pixel; none is believed: both files are decoded and compared.

- *archive*: JPEG by Lepton, unpacked when it is read.
- *lossless*: JPEG by MozJPEG, PNG by oxipng; PNG becomes WebP for clients that accept it.
- *balanced*, *small*: PNG by oxipng, with less effort.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.errors import InternalError
from app.imaging.codecs import lepton, optimize
from app.imaging.codecs.pillow import save
from app.imaging.colours import colour_space, icc_profile
from app.imaging.containers import png
from app.imaging.decode import upright
from app.imaging.develop import WORTHWHILE, Developed, examine, label
from app.imaging.formats import ImageFormat, sniff
from app.imaging.picture import Candidate
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.imaging.info import ImageInfo
    from app.imaging.limits import ImageLimits
    from app.imaging.picture import Decoded
    from app.imaging.profiles import Recipe

# Bytes that are packed in a second, and unpacked to compare.
_LEPTON_BYTES = 3_000_000
_MOZJPEG_BYTES = 2_400_000

# oxipng's levels by effort, with the most that a megapixel took, in seconds of a CPU: photos take
# half of it. Level 2 saves 2 to 5 % more than 1, level 1 up to a fifth more than 0, level 4 one per
# cent more in four times the time.
_LEVELS = {2: 1.7, 1: 0.8, 0: 0.12}
_EXACT_LEVEL, _QUICK_LEVEL = 2, 1
_DEFLATE_SECONDS = 0.4

# The same for methods of lossless WebP. 0 makes files larger by a sixth, still below any PNG.
_WEBP_METHODS = {4: 2.0, 0: 0.45}
_WEBP_METHOD = 4
_WEBP_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})

# Up to here both a PNG and a WebP are tried. A larger WebP was a tenth to a third smaller than the
# PNG of every photo and screenshot that was tried.
_BOTH_MAX_PIXELS = 1_000_000


def can_be_packed(info: ImageInfo) -> bool:
    """Tell whether there is something to try for a stored image."""
    if info.content_type == ImageFormat.JPEG.content_type:
        if info.profile == Profile.ARCHIVE:
            return lepton.lepton_jpeg is not None
        return info.profile == Profile.LOSSLESS and optimize.mozjpeg is not None
    is_png = info.content_type == ImageFormat.PNG.content_type
    return is_png and info.profile not in {Profile.ORIGINAL, Profile.ARCHIVE}


def pack(
    data: bytes, info: ImageInfo, limits: ImageLimits, recipe: Recipe, seconds: float
) -> Developed | None:
    """Return a stored image in fewer bytes; None where that is not worth it.

    Blocks for up to seconds: runs in a codec worker.

    Args:
        data: The image, as `develop` made it.
        info: Its properties.
        limits: The limits that it was decoded with.
        recipe: The recipe that it was developed by.
        seconds: How long this may take; what would most likely take longer is not tried.

    Raises:
        InternalError: A packer changed the picture.
    """
    if recipe.profile is Profile.ARCHIVE:
        return _by_lepton(data, info, seconds)
    if info.content_type == ImageFormat.JPEG.content_type:
        candidates = list(_jpegs(data, info, seconds))
    else:
        candidates = list(_by_pillow(data, info, limits, recipe, seconds))
        if not (candidates and _pixels(info) > _BOTH_MAX_PIXELS):
            candidates += _by_oxipng(data, info, recipe, seconds / 2 if candidates else seconds)
    best = min(candidates, key=lambda each: len(each.data), default=None)
    most = WORTHWHILE * len(data) if info.kept else len(data)
    if best is None or len(best.data) >= most:
        return None
    before = examine(data, sniff(data), limits)
    after = examine(best.data, best.image_format, limits)
    if not _is_same(before, after):
        raise InternalError(f"The codec {best.codec!r} changed the picture.")
    removed = before.stripped.metadata.removed(after.stripped.metadata)
    packed = replace(
        info,
        content_type=best.image_format.content_type,
        content_length=len(best.data),
        digest="",
        codec=best.codec,
        kept=False,
        stored_bytes=len(best.data),
        metadata_removed=tuple(sorted({*info.metadata_removed, *removed})),
    )
    return Developed(best.data, packed)


def _by_lepton(data: bytes, info: ImageInfo, seconds: float) -> Developed | None:
    packed = lepton.pack(data) if len(data) <= _LEPTON_BYTES * seconds else None
    if packed is None or len(packed) >= WORTHWHILE * len(data):
        return None
    encoding = lepton.CONTENT_ENCODING
    return Developed(
        packed,
        replace(info, codec=encoding, content_encoding=encoding, stored_bytes=len(packed)),
    )


def _jpegs(data: bytes, info: ImageInfo, seconds: float) -> Iterator[Candidate]:
    if len(data) <= _MOZJPEG_BYTES * seconds and (better := optimize.optimized_jpeg(data)):
        yield _candidate(better, "mozjpeg lossless", ImageFormat.JPEG, info)


def _by_pillow(
    data: bytes, info: ImageInfo, limits: ImageLimits, recipe: Recipe, seconds: float
) -> Iterator[Candidate]:
    """Yield a WebP of a PNG for a client that accepts it, or a PNG where oxipng is missing."""
    as_webp = recipe.profile is Profile.LOSSLESS and recipe.webp
    if info.frame_count > 1 or not (as_webp or optimize.oxipng is None):
        return
    decoded = examine(data, ImageFormat.PNG, limits)
    if not decoded.is_rewritable_png:
        return
    method = _effort(_WEBP_METHODS, _WEBP_METHOD, info, seconds)
    if as_webp and method is not None and _fits_webp(decoded):
        yield label(_webp_of(decoded, method), decoded, recipe)
    elif optimize.oxipng is None and _DEFLATE_SECONDS * _pixels(info) / 1e6 <= seconds:
        yield label(_deflated(decoded), decoded, recipe)


def _by_oxipng(data: bytes, info: ImageInfo, recipe: Recipe, seconds: float) -> Iterator[Candidate]:
    if optimize.oxipng is None:
        return
    wanted = _EXACT_LEVEL if recipe.profile is Profile.LOSSLESS else _QUICK_LEVEL
    level = _effort(_LEVELS, wanted, info, seconds)
    if level is not None and (better := optimize.optimized_png(data, level)) is not None:
        yield _candidate(better, f"oxipng {level}", ImageFormat.PNG, info)


def _effort(rates: Mapping[int, float], most: int, info: ImageInfo, seconds: float) -> int | None:
    """Return the greatest effort, up to `most`, for which there is time; None for none."""
    allowed = seconds / (_pixels(info) / 1e6)
    return max(
        (each for each, rate in rates.items() if each <= most and rate <= allowed), default=None
    )


def _pixels(info: ImageInfo) -> int:
    return info.width * info.height * info.frame_count


def _fits_webp(decoded: Decoded) -> bool:
    """Tell whether a WebP of a rewritable PNG is exact: eight bits, usual colours."""
    image = decoded.image
    return (
        not decoded.has_unusual_colours
        and image.mode in _WEBP_MODES
        and colour_space(image) in {b"", b"RGB "}
    )


def _webp_of(decoded: Decoded, method: int) -> Candidate:
    picture, profile = decoded.in_rgb
    picture = upright(picture, decoded.stripped.orientation)
    options: dict[str, Any] = {"lossless": True, "exact": True, "method": method}
    data = save(picture, "WEBP", icc_profile=profile, **options)
    return Candidate(data, "webp lossless", ImageFormat.WEBP, picture.size, exact=True)


def _deflated(decoded: Decoded) -> Candidate:
    picture = upright(decoded.image, decoded.stripped.orientation)
    data = png.with_appearance_of(decoded.stripped.data, save(picture, "PNG", compress_level=6))
    return Candidate(data, "png deflate 6", ImageFormat.PNG, decoded.size, exact=True)


def _candidate(data: bytes, codec: str, image_format: ImageFormat, info: ImageInfo) -> Candidate:
    return Candidate(data, codec, image_format, (info.width, info.height), exact=True)


def _is_same(before: Decoded, after: Decoded) -> bool:
    """Tell whether two files show the same, frame by frame."""
    if after.image_format is ImageFormat.JPEG:
        return before.image.tobytes() == after.image.tobytes()
    frames = [each.frame_count for each in (before, after)]
    profiles = [icc_profile(each.image) for each in (before, after)]
    return (
        frames[0] == frames[1]
        and profiles[0] == profiles[1]
        and all(_shown(before, number) == _shown(after, number) for number in range(frames[0]))
    )


def _shown(decoded: Decoded, number: int) -> bytes:
    """Return the pixels of a frame as viewers show it."""
    image = decoded.image
    if decoded.frame_count > 1:
        image.seek(number)
    picture = upright(image, decoded.stripped.orientation)
    return (picture if picture.mode == "I;16" else picture.convert("RGBA")).tobytes()
