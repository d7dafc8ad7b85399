"""The `balanced` profile: which images are compressed again, and how.

JPEG of grey or RGB is encoded again; PNG of up to 4.2 megapixels is packed again where Pillow
changes no sample of it. The rest stays as it was uploaded: animations, because Pillow merges frames
and rounds durations; GIF and WebP, because a second pass gains little for a generation of quality
(lossy) or for seconds (lossless: 1.6 s/MP).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.PngImagePlugin import PngImageFile

from app.errors import ImageLimitError
from app.imaging import png
from app.imaging.decode import upright

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

    from app.imaging.metadata import Stripped

PROFILE = "balanced"

_JPEG_QUALITY = 85
"""Over twelve camera photos: a median SSIMULACRA2 of 84.0 at 60 % of the bytes; the aim is 80."""

_JPEG_TABLE_SUM = 1109
"""Sum of libjpeg's luminance quantisation table at quality 85."""

_JPEG_MODES = frozenset({"L", "RGB"})
"""Not CMYK: whether its samples are inverted is a guess that every decoder makes for itself."""

_PNG_MAX_PIXELS = 4_200_000
"""Any screenshot. Deflate at level 6 takes up to 0.85 s/MP on photos: a third of the deadline."""


def encode(image: ImageFile, stripped: Stripped) -> tuple[bytes, str] | None:
    """Encode a decoded image again, upright and without metadata.

    Returns:
        The bytes and, in words, how they came about; `None` where the profile keeps the upload.
    """
    if isinstance(image, JpegImageFile) and image.mode in _JPEG_MODES:
        return _encode_jpeg(image, stripped.orientation)
    if isinstance(image, PngImageFile) and _worth_packing(image, stripped):
        return _pack_png(image, stripped)
    return None


def _encode_jpeg(image: JpegImageFile, orientation: int) -> tuple[bytes, str]:
    """Encode at the profile's quality, or at the upload's own where that is lower.

    Its own quantisation tables give back nearly its own coefficients: smaller and closer to it
    than quality 85 would be (a photo of quality 79: -11 % and SSIMULACRA2 94, against -7 % and 86).
    """
    options: dict[str, object] = {"quality": _JPEG_QUALITY, "subsampling": "4:2:0"}
    name = f"jpeg q{_JPEG_QUALITY} progressive"
    if sum(image.quantization.get(0, ())) >= _JPEG_TABLE_SUM:
        options = {"qtables": image.quantization, "subsampling": get_sampling(image)}
        name = "jpeg own tables progressive"
    return _save(image, "JPEG", orientation, progressive=True, **options), name


def _worth_packing(image: PngImageFile, stripped: Stripped) -> bool:
    return image.width * image.height <= _PNG_MAX_PIXELS and png.rewritable(stripped.data)


def _pack_png(image: PngImageFile, stripped: Stripped) -> tuple[bytes, str]:
    data = _save(image, "PNG", stripped.orientation, compress_level=6)
    return png.with_appearance_of(stripped.data, data), "png deflate 6"


def _save(image: ImageFile, format_name: str, orientation: int, **options: object) -> bytes:
    output = io.BytesIO()
    try:
        turned: Image = upright(image, orientation)
        # `None` also overrules the profile that Pillow would take from `image.info` into a PNG.
        profile = image.info.get("icc_profile") if format_name == "JPEG" else None
        turned.save(output, format_name, icc_profile=profile, **options)
    except MemoryError as error:
        raise ImageLimitError("Encoding the image takes more memory than allowed.") from error
    return output.getvalue()
