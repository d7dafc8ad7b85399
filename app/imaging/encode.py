"""What each profile makes of a decoded image.

- *original*: nothing; the upload is kept, less its metadata.
- *lossless*: JPEG and PNG are packed better; TIFF and BMP become PNG.
- *balanced*: photos become JPEG of quality 85, graphics PNG. What is compact already stays:
  animations, because Pillow merges frames and rounds durations; GIF, WebP and AVIF, because a
  second pass gains little for a generation of quality (lossy) or for seconds (lossless).
- *small*: as *balanced*, at most 2,048 pixels on a side, and photos of quality 70; what has to be
  made smaller and is transparent becomes WebP.

HEIC, which few clients show, becomes JPEG in the last two.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from app.errors import ImageLimitError, InvalidImageError
from app.imaging import jpegli, optimize, png
from app.imaging.decode import upright
from app.imaging.formats import STORED, ImageFormat
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.ImageFile import ImageFile

    from app.imaging.metadata import Stripped

_QUALITY = {Profile.BALANCED: 85, Profile.SMALL: 70}
"""Over twelve camera photos, balanced: a median SSIMULACRA2 of 84; the aim is 80."""

_SMALL_SIDE = 2048
_WEBP_QUALITY = 75

_JPEG_TABLE_SUM = 1109
"""Sum of libjpeg's luminance quantisation table at quality 85."""

_PNG_MAX_PIXELS = 4_200_000
"""Any screenshot. Deflate at level 6 takes up to 0.85 s/MP on photos: a third of the deadline."""

_GRAPHIC_COLOURS = 4096
"""Charts and screenshots have fewer, photos of any size more."""

_COLOUR_SPACE = slice(16, 20)
"""Of the data, in a profile's header (ICC.1:2022, 7.2)."""

_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
_COMPACT = frozenset({ImageFormat.GIF, ImageFormat.WEBP, ImageFormat.AVIF})
_QUARTER_TURNS = range(5, 9)
"""Orientations that swap width and height (EXIF 2.32, 4.6.4 A)."""

_ENCODED_ALWAYS = frozenset(ImageFormat) - frozenset(STORED)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A candidate for what is stored: a file, how it came about, its format, its size as seen."""

    data: bytes
    codec: str
    image_format: ImageFormat
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What there is to encode: the decoder's image, its file, and the format of both."""

    image: ImageFile
    stripped: Stripped
    image_format: ImageFormat

    @property
    def size(self) -> tuple[int, int]:
        """`(width, height)` in pixels as it is to be seen."""
        width, height = self.image.size
        turned = self.stripped.orientation in _QUARTER_TURNS
        return (height, width) if turned else (width, height)

    @property
    def frame_count(self) -> int:
        """How many pictures a viewer shows; one for a still image."""
        return self.stripped.frame_count or int(getattr(self.image, "n_frames", 1))

    @property
    def is_still(self) -> bool:
        """Whether it is no animation, nor a collection."""
        return self.frame_count == 1


def must_be_encoded(decoded: Decoded, profile: Profile) -> bool:
    """Tell whether the upload cannot be kept as it is.

    Raises:
        InvalidImageError: and yet the profile asks for that.
    """
    image_format = decoded.image_format
    if image_format in _ENCODED_ALWAYS and profile is Profile.ORIGINAL:
        raise InvalidImageError(
            f"The metadata of a {image_format.label} cannot be removed without encoding it again:"
            " use the profile lossless."
        )
    if image_format is ImageFormat.HEIC:
        return profile in _QUALITY and decoded.is_still
    return image_format in _ENCODED_ALWAYS


def encode(decoded: Decoded, profile: Profile) -> Iterator[Encoded]:
    """Yield what could be stored in place of the upload, upright and without metadata.

    Raises:
        ImageLimitError: It takes more memory than allowed.
        InvalidImageError: Its colours have no equivalent in a format that browsers show.
    """
    if profile is Profile.ORIGINAL or not decoded.is_still:
        return
    if profile is Profile.LOSSLESS:
        yield from _lossless(decoded)
    elif profile is Profile.SMALL and max(decoded.image.size) > _SMALL_SIDE:
        yield from _resized(decoded)
    elif decoded.image_format not in _COMPACT:
        yield from _lossy(decoded, profile)


def _lossless(decoded: Decoded) -> Iterator[Encoded]:
    packed = None
    if decoded.image_format is ImageFormat.JPEG:
        packed = optimize.jpeg(decoded.stripped.data)
    elif decoded.image_format is ImageFormat.PNG:
        if _pixels(decoded.image) <= optimize.MAX_PNG_PIXELS:
            packed = optimize.png(decoded.stripped.data)
    elif decoded.image_format in _ENCODED_ALWAYS:
        yield _as_png(decoded)
    if packed is not None:
        yield Encoded(*packed, decoded.image_format, decoded.size)


def _lossy(decoded: Decoded, profile: Profile) -> Iterator[Encoded]:
    image = decoded.image
    if isinstance(image, JpegImageFile):
        if image.mode in {"L", "RGB"}:
            yield _compressed_again(decoded, profile)
        elif image.mode == "CMYK" and (_profile(image) or b"")[_COLOUR_SPACE] == b"CMYK":
            yield _as_jpeg(decoded, _QUALITY[profile])
    elif decoded.image_format is ImageFormat.PNG:
        if _pixels(image) <= _PNG_MAX_PIXELS and png.rewritable(decoded.stripped.data):
            yield _packed_png(decoded)
    elif _is_graphic(image):
        yield _as_png(decoded)
    else:
        yield _as_jpeg(decoded, _QUALITY[profile])


def _compressed_again(decoded: Decoded, profile: Profile) -> Encoded:
    """Encode at the profile's quality, or at the upload's own where that is lower.

    Its own quantisation tables give back nearly its own coefficients: smaller and closer to it
    than quality 85 would be (a photo of quality 79: -11 % and SSIMULACRA2 94, against -7 % and 86).
    """
    image = decoded.image
    assert isinstance(image, JpegImageFile)  # noqa: S101 - the caller has looked
    own = profile is Profile.BALANCED and sum(image.quantization.get(0, ())) >= _JPEG_TABLE_SUM
    if not own:
        return _as_jpeg(decoded, _QUALITY[profile])
    options: dict[str, Any] = {"qtables": image.quantization, "subsampling": get_sampling(image)}
    options |= {"icc_profile": _profile(image), "progressive": True}
    data = _save(_upright(decoded), "JPEG", **options)
    return Encoded(data, "jpeg own tables progressive", ImageFormat.JPEG, decoded.size)


def _resized(decoded: Decoded) -> Iterator[Encoded]:
    """Make it fit into 2,048 pixels: a JPEG, or a WebP where that would lose what it has."""
    picture, profile = _in_rgb(decoded)
    picture = upright(picture, decoded.stripped.orientation)
    picture.thumbnail((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.LANCZOS)
    # A JPEG of what is compact already would be larger.
    if picture.mode == "RGBA" or decoded.image_format in _COMPACT:
        data = _save(picture, "WEBP", quality=_WEBP_QUALITY, method=4, icc_profile=profile)
        codec = f"webp q{_WEBP_QUALITY}"
        yield Encoded(data, codec, ImageFormat.WEBP, picture.size)
    else:
        yield _jpeg_of(picture, profile, _QUALITY[Profile.SMALL])


def _as_jpeg(decoded: Decoded, quality: int) -> Encoded:
    if decoded.image.mode == "L":
        picture, profile = _upright(decoded), _profile(decoded.image)
    else:
        picture, profile = _in_rgb(decoded)
        picture = upright(picture, decoded.stripped.orientation)
    return _jpeg_of(picture, profile, quality)


def _jpeg_of(picture: Image.Image, profile: bytes | None, quality: int) -> Encoded:
    if picture.mode == "RGB" and jpegli.AVAILABLE:
        data, codec = jpegli.encode(picture, quality, profile), f"jpegli q{quality}"
    else:
        options: dict[str, Any] = {"quality": quality, "subsampling": "4:2:0", "progressive": True}
        data = _save(picture, "JPEG", icc_profile=profile, **options)
        codec = f"jpeg q{quality} progressive"
    return Encoded(data, codec, ImageFormat.JPEG, picture.size)


def _packed_png(decoded: Decoded) -> Encoded:
    data = _save(_upright(decoded), "PNG", compress_level=6)
    data = png.with_appearance_of(decoded.stripped.data, data)
    return Encoded(data, "png deflate 6", ImageFormat.PNG, decoded.size)


def _as_png(decoded: Decoded) -> Encoded:
    if decoded.image.mode in _PNG_MODES:
        picture, profile = _upright(decoded), _profile(decoded.image)
    else:
        picture, profile = _in_rgb(decoded)
        picture = upright(picture, decoded.stripped.orientation)
    data = _save(picture, "PNG", icc_profile=profile, compress_level=6)
    codec = "png deflate 6"
    if picture.width * picture.height <= optimize.MAX_PNG_PIXELS and (packed := optimize.png(data)):
        data, codec = packed
    return Encoded(data, codec, ImageFormat.PNG, picture.size)


def _in_rgb(decoded: Decoded) -> tuple[Image.Image, bytes | None]:
    """Return the picture as RGB, or RGBA where it is transparent, and the profile that it is in.

    CMYK and Lab become sRGB through their own profile, never by formula.
    """
    image = decoded.image
    if image.mode in {"RGB", "RGBA"}:
        return image, _profile(image)
    if image.mode in {"CMYK", "LAB"}:
        return _through_profile(image), None
    if image.mode in {"1", "L", "LA", "P", "PA", "YCbCr", "RGBX"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB"), None
    raise InvalidImageError(
        f"Its samples ({image.mode}) have no equivalent in a format that browsers show."
    )


def _through_profile(image: Image.Image) -> Image.Image:
    if not (profile := image.info.get("icc_profile")):
        raise InvalidImageError(
            f"It is {image.mode} without a colour profile, so what it looks like is not known."
        )
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise InvalidImageError("Its colour profile cannot be used.") from error
    assert turned is not None  # noqa: S101 - it is, unless it was to work in place
    return turned


def _is_graphic(image: Image.Image) -> bool:
    return image.mode in {"1", "P", "I;16"} or image.getcolors(_GRAPHIC_COLOURS) is not None


def _pixels(image: Image.Image) -> int:
    return image.width * image.height


def _profile(image: Image.Image) -> bytes | None:
    return image.info.get("icc_profile") or None


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
