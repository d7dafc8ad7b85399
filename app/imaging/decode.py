"""Pillow's decoders: the only place where their exceptions become refusals.

Of 10,887 hostile files, 294 made Pillow raise something other than `OSError`; any exception means
that it cannot read the image. Nothing inside `decoder_errors` does more than call Pillow.

The plugins' classes are used directly, not `Image.open`: no other plugin is ever tried, and a JPEG
is never read as an MPO.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from PIL import ExifTags, Image, PngImagePlugin
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from app.errors import ImageLimitError, InvalidImageError
from app.imaging.codecs.bmp import BmpFile
from app.imaging.codecs.tiff import TiffFile
from app.imaging.codecs.webp import WebPFile
from app.imaging.colours import with_key_as_alpha
from app.imaging.containers import gif, jpeg, png
from app.imaging.containers.heif_properties import aperture
from app.imaging.formats import ImageFormat
from app.imaging.metadata.metadata import truncated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

    from app.imaging.limits import ImageLimits
    from app.imaging.metadata.metadata import Stripped

_DECODERS: dict[ImageFormat, type[ImageFile]] = {
    ImageFormat.JPEG: JpegImageFile,
    ImageFormat.PNG: PngImageFile,
    ImageFormat.WEBP: WebPFile,
    ImageFormat.GIF: GifImageFile,
    ImageFormat.AVIF: AvifImageFile,
    ImageFormat.TIFF: TiffFile,
    ImageFormat.BMP: BmpFile,
}

with suppress(ImportError):  # an extra: without it, `sniff` refuses HEIC
    from pillow_heif import HeifImageFile

    _DECODERS[ImageFormat.HEIC] = HeifImageFile

# Pillow finds one in a JPEG before its frame header only, and none in a GIF.
_PROFILES: dict[ImageFormat, Callable[[bytes], bytes | None]] = {
    ImageFormat.JPEG: jpeg.icc_profile,
    ImageFormat.GIF: gif.icc_profile,
}

# The turn that brings an image of each EXIF orientation upright (EXIF 2.32, 4.6.4 A).
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Turn every exception and warning of a decoder into a refusal of the image.

    Raises:
        ImageLimitError: The decoder ran out of the worker's memory.
        InvalidImageError: Anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageLimitError("Decoding the image takes more memory than allowed.") from error
    except Exception as error:  # a decoder raises anything: see above
        raise InvalidImageError(
            "The image cannot be decoded: it is damaged, or of a kind that is not supported."
        ) from error


def decode(stripped: Stripped, image_format: ImageFormat, limits: ImageLimits) -> Image.Image:
    """Decode every frame, and return the image with the first one loaded.

    Raises:
        HeavyImageError: Heavy for its bytes, which the limits do not allow.
        ImageLimitError: Beyond the limits, or out of memory.
        InvalidImageError: The decoder refused it, or saw another image than its container says.
    """
    if stripped.size is not None:
        limits.check(stripped.size, stripped.frame_count or 1, len(stripped.data))
    # Decoders of GIF and WebP check it where a frame grows the canvas, after the check above.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    # Applies to an unpacked colour profile too.
    PngImagePlugin.MAX_TEXT_CHUNK = limits.max_metadata_bytes
    try:
        with decoder_errors():
            image = _DECODERS[image_format](io.BytesIO(stripped.data))
            announced = _announced(image, limits) if stripped.size is None else []
    except InvalidImageError:
        if stripped.announced is not None:
            # Decoders have limits of their own, and do not say that one was met.
            limits.check(stripped.announced, 1, len(stripped.data))
        raise
    if stripped.size is None:
        # The decoder knows sizes that the container does not tell, and has spent no memory yet.
        limits.check_pictures(announced, len(stripped.data))
    with decoder_errors():
        seen = _decode_frames(image)
    if stripped.size is not None and seen != (stripped.size, stripped.frame_count):
        raise InvalidImageError("The image is not what its container says.")
    if stripped.was_open and image_format is ImageFormat.JPEG:
        _require_all_of(stripped)
    if (read_profile := _PROFILES.get(image_format)) is not None:
        image.info["icc_profile"] = read_profile(stripped.data)
    with decoder_errors():
        if image_format is ImageFormat.PNG:
            return _with_alpha(image, stripped.data)
        if image_format is ImageFormat.AVIF:
            return _cropped(image, stripped.data)
        return image.shown() if isinstance(image, BmpFile | TiffFile) else image


def _require_all_of(stripped: Stripped) -> None:
    """Refuse a JPEG that had no end marker where the decoder made a part of its picture up."""
    with decoder_errors():
        first, second = (
            JpegImageFile(io.BytesIO(data)).tobytes() for data in jpeg.with_tails(stripped.data)
        )
    if first != second:
        raise truncated()


def _cropped(image: ImageFile, data: bytes) -> Image.Image:
    """Return the part of an AVIF that viewers show, which Pillow does not know of.

    Of an animation that is its first frame.
    """
    count = getattr(image, "n_frames", 1)
    if (part := aperture(data, image.size, is_still=count == 1)) is None:
        return image
    cropped = image.crop(part)
    # As images of several frames have it.
    cropped.n_frames = count  # type: ignore[attr-defined]
    return cropped


def _with_alpha(image: ImageFile, data: bytes) -> Image.Image:
    if (found := png.colour_key(data)) is None:
        return image
    bit_depth, key = found
    low_bytes = None
    if (image.mode, bit_depth) == ("RGB", 16):
        # Pillow has only the upper bytes of such samples; in the other order they are the lower.
        low_bytes = PngImageFile(io.BytesIO(data))
        low_bytes.tile = [tile._replace(args="RGB;16L") for tile in low_bytes.tile]
    return with_key_as_alpha(image, bit_depth, key, low_bytes)


def _announced(image: ImageFile, limits: ImageLimits) -> list[tuple[int, int]]:
    """Return the sizes of all pictures, up to one more than allowed, without loading any."""
    first, sizes = image.tell(), []
    for number in range(min(getattr(image, "n_frames", 1), limits.max_frames + 1)):
        image.seek(number)
        sizes.append(image.size)
    image.seek(first)
    return sizes


def _decode_frames(image: ImageFile) -> tuple[tuple[int, int], int]:
    """Load every frame, then the main one again; return size and frame count as decoded."""
    decodes, main = getattr(image, "n_frames", 1), image.tell()
    for number in range(decodes):
        image.seek(number)
        image.load()
    size = image.size
    image.seek(main)
    image.load()
    # The still picture that an APNG shows where animation is unknown is not one of its frames.
    return size, decodes - getattr(image, "default_image", False)


def stored_orientation(image: Image.Image, image_format: ImageFormat) -> int:
    """Return the orientation of a decoded image: a HEIC is turned by its decoder."""
    if image_format is not ImageFormat.AVIF:
        return 1
    with decoder_errors():
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in _TRANSPOSE else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image as viewers show it."""
    return image if orientation == 1 else image.transpose(_TRANSPOSE[orientation])
