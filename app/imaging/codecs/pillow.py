"""The options of each codec: pictures in, files out, without metadata but for AVIF."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from app.errors import ImageLimitError
from app.imaging.codecs import jpegli
from app.imaging.formats import ImageFormat
from app.imaging.metadata.metadata import Metadata
from app.imaging.picture import Candidate
from app.imaging.profiles import Profile

if TYPE_CHECKING:
    from PIL import Image

    from app.imaging.metadata.metadata import Blocks

# Over twelve camera photos, balanced: a median SSIMULACRA2 of 84; the aim is 80.
QUALITY = {Profile.BALANCED: 85, Profile.SMALL: 70}

# Without colours there is less to lose: a SSIMULACRA2 of 86 to 93 over five grey camera photos of
# quality 95, in 0.44 to 0.54 of their bytes; of grey text on dark grey 77.
_GREY_QUALITY = {Profile.BALANCED: 82, Profile.SMALL: 70}

# For text and drawings in colour: at 93 the worst text came to a SSIMULACRA2 of 76, at 85 to 49.
_SHARP_QUALITY = {Profile.BALANCED: 95, Profile.SMALL: 85}

# In a tenth of the time of level 9, and of a photo an eighth more bytes.
_PNG_LEVEL = 3

_WEBP_QUALITY = {Profile.BALANCED: 90, Profile.SMALL: 75}

# As near as a JPEG of quality 70 in seven tenths of its bytes: a median SSIMULACRA2 of 71.
_AVIF: dict[str, Any] = {"quality": 55, "speed": 8}


def jpeg_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    """Return a JPEG of a grey or RGB picture: of RGB by jpegli, where that is installed.

    Pillow's is not progressive: for 3 to 5 % fewer bytes, that would take three times as long.
    """
    quality = (QUALITY if picture.mode == "RGB" else _GREY_QUALITY)[profile]
    if picture.mode == "RGB" and jpegli.AVAILABLE:
        data, codec = jpegli.encode(picture, quality, icc), f"jpegli q{quality}"
    else:
        options: dict[str, Any] = {"quality": quality, "subsampling": "4:2:0", "optimize": True}
        data = save(picture, "JPEG", icc_profile=icc, **options)
        codec = f"jpeg q{quality}"
    return Candidate(data, codec, ImageFormat.JPEG, picture.size)


def sharp_jpeg_of(picture: Image.Image, icc: bytes | None, profile: Profile) -> Candidate:
    """Return a JPEG of an RGB picture with each pixel's own colour (4:4:4), which jpegli lacks.

    Of text, the buffer that optimizing it takes would be too small in Pillow 13.
    """
    quality = _SHARP_QUALITY[profile]
    data = save(picture, "JPEG", quality=quality, subsampling="4:4:4", icc_profile=icc)
    return Candidate(data, f"jpeg q{quality} 4:4:4", ImageFormat.JPEG, picture.size)


def webp_of(picture: Image.Image, icc: bytes | None, profile: Profile, *, sharp: bool) -> Candidate:
    """Return a lossy WebP of an RGB or RGBA picture, which is always 4:2:0.

    Where it is to be `sharp`, the encoder looks for colours that come out nearest.
    """
    quality = _WEBP_QUALITY[profile]
    options: dict[str, Any] = {"method": 4, "use_sharp_yuv": sharp, "icc_profile": icc}
    data = save(picture, "WEBP", quality=quality, **options)
    return Candidate(data, f"webp q{quality}", ImageFormat.WEBP, picture.size)


def avif_of(
    picture: Image.Image, profile: bytes | None, blocks: Blocks, *, sharp: bool
) -> Candidate:
    """Return an AVIF with its metadata, as inserting it later would move the other parts.

    Where it is to be `sharp`, each pixel has its own colour (4:4:4).
    """
    # Pillow refuses a damaged block, so a new one is written of the same entries.
    metadata = Metadata.of(blocks)
    exif = metadata.exif.copied(1, metadata.copyright_notice())
    options: dict[str, Any] = {
        name: block for name, block in (("exif", exif), ("xmp", blocks.xmp)) if block
    }
    options["subsampling"] = "4:4:4" if sharp else "4:2:0"
    data = save(picture, "AVIF", icc_profile=profile, **_AVIF, **options)
    codec = f"avif q{_AVIF['quality']} speed {_AVIF['speed']}" + (" 4:4:4" if sharp else "")
    return Candidate(data, codec, ImageFormat.AVIF, picture.size)


def png_of(picture: Image.Image, icc: bytes | None, *, exact: bool = False) -> Candidate:
    """Return a PNG, to be packed better later; `exact` where every pixel is the upload's."""
    data = save(picture, "PNG", icc_profile=icc, compress_level=_PNG_LEVEL)
    return Candidate(data, f"png deflate {_PNG_LEVEL}", ImageFormat.PNG, picture.size, exact)


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
