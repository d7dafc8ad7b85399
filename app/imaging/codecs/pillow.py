"""The options of each codec: pictures in, files out, without metadata but for AVIF."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.errors import ImageLimitError
from app.imaging.codecs import jpegli, optimize
from app.imaging.formats import ImageFormat
from app.imaging.metadata.metadata import Metadata
from app.imaging.picture import Candidate
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from PIL import Image

    from app.imaging.metadata.metadata import Blocks

# Over twelve camera photos, balanced: a median SSIMULACRA2 of 84; the aim is 80.
QUALITY = {Profile.BALANCED: 85, Profile.SMALL: 70}

_WEBP_QUALITY = {Profile.BALANCED: 90, Profile.SMALL: 75}

# As near as a JPEG of quality 70 in seven tenths of its bytes: a median SSIMULACRA2 of 71.
_AVIF: dict[str, Any] = {"quality": 55, "speed": 8}


def jpeg_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    """Return a JPEG of a grey or RGB picture: by jpegli, where that is installed."""
    quality = QUALITY[profile]
    if picture.mode == "RGB" and jpegli.AVAILABLE:
        data, codec = jpegli.encode(picture, quality, icc), f"jpegli q{quality}"
    else:
        options: dict[str, Any] = {"quality": quality, "subsampling": "4:2:0", "progressive": True}
        data = save(picture, "JPEG", icc_profile=icc, **options)
        codec = f"jpeg q{quality} progressive"
    return Candidate(data, codec, ImageFormat.JPEG, picture.size)


def webp_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    """Return a lossy WebP of an RGB or RGBA picture."""
    quality = _WEBP_QUALITY[profile]
    data = save(picture, "WEBP", quality=quality, method=4, icc_profile=icc)
    return Candidate(data, f"webp q{quality}", ImageFormat.WEBP, picture.size)


def avif_of(picture: Image.Image, profile: bytes | None, blocks: Blocks) -> Candidate:
    """Return an AVIF with its metadata, as inserting it later would move the other parts."""
    # Pillow refuses a damaged block, so a new one is written of the same entries.
    metadata = Metadata.of(blocks)
    exif = metadata.exif.copied(1, metadata.copyright_notice())
    options = {name: block for name, block in (("exif", exif), ("xmp", blocks.xmp)) if block}
    data = save(picture, "AVIF", icc_profile=profile, **_AVIF, **options)
    codec = f"avif q{_AVIF['quality']} speed {_AVIF['speed']}"
    return Candidate(data, codec, ImageFormat.AVIF, picture.size)


def png_of(picture: Image.Image, icc: bytes | None, *, exact: bool = False) -> Candidate:
    """Return a PNG in as few bytes as possible; `exact` where every pixel is the upload's."""
    data = save(picture, "PNG", icc_profile=icc, compress_level=6)
    file = Candidate(data, "png deflate 6", ImageFormat.PNG, picture.size, exact)
    smaller = optimize.optimized(file, picture.width * picture.height, optimize.EXACT_LEVEL)
    return replace(smaller[0], exact=exact) if smaller else file


def save(picture: Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode by Pillow.

    Raises:
        ImageLimitError: Encoding takes more memory than allowed.
    """
    output = io.BytesIO()
    # `None` also overrules the profile that Pillow would use from `image.info`.
    options.setdefault("icc_profile", None)
    try:
        picture.save(output, format_name, **options)
    except MemoryError as error:
        raise ImageLimitError("Encoding the image takes more memory than allowed.") from error
    return output.getvalue()
