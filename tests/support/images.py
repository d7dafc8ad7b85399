"""Synthetic images: gradients with noise, like a photo, and every kind of metadata.

Pixels are compared through `pixels` and `distance`, never file bytes.
"""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib

import pillow_heif
from PIL import Image, ImageChops, ImageCms, ImageSequence, ImageStat

# Metadata that `jpeg`, `png`, `webp` and `gif` hide; none of it may be stored.
SECRETS = (b"SECRET-MAKER", b"SECRET-GPS", b"SECRET-XMP", b"SECRET-COMMENT", b"SECRET-THUMBNAIL")

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SECRET-XMP</x:xmpmeta>'
ARCHIVE = b"PK\x03\x04SECRET-ARCHIVE" + bytes(64)


# Its header holds the second of its creation.
@functools.cache
def icc_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(size=(96, 64), mode="RGB", noise=24, seed=1) -> Image.Image:
    """A gradient whose four corners differ, so that no orientation looks like another."""
    width, height = size
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    corner = Image.new("L", size, 40)
    corner.paste(220, (0, 0, width // 3, height // 4))
    image = Image.merge("RGB", (across, down, corner))
    if noise:
        grain = Image.frombytes("RGB", size, random.Random(seed).randbytes(width * height * 3))
        image = Image.blend(image, grain, noise / 255)
    if mode in {"RGBA", "LA"}:
        image.putalpha(across)
    return image.convert(mode)


def exif(orientation=1, *, private=True) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    if private:
        block[0x010F] = "SECRET-MAKER"
        gps = block.get_ifd(0x8825)
        gps[0x0012] = "SECRET-GPS"
    return block


def jpeg(image=None, *, orientation=1, private=True, icc=True, quality=95, **options) -> bytes:
    """A camera's JPEG; `private` is EXIF with GPS, XMP, IPTC, comment, and a JFIF thumbnail."""
    output = io.BytesIO()
    (image or photo()).save(
        output,
        "JPEG",
        quality=quality,
        exif=exif(orientation, private=private),
        icc_profile=icc_profile() if icc else None,
        comment=b"SECRET-COMMENT" if private else None,
        xmp=XMP if private else None,
        **options,
    )
    data = output.getvalue()
    if private:
        iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0eSECRET-COMMENT"
        thumbnail = b"JFXX\0\x10SECRET-THUMBNAIL"
        data = data[:2] + segment(0xE0, thumbnail) + segment(0xED, iptc) + data[2:]
    return data


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def png(image=None, *, orientation=1, private=True, icc=True, chunks=(), **options) -> bytes:
    """A PNG; `chunks` are `(name, payload)` pairs that go in after its header."""
    output = io.BytesIO()
    (image or photo()).save(
        output,
        "PNG",
        exif=exif(orientation, private=private) if private or orientation > 1 else None,
        icc_profile=icc_profile() if icc else None,
        **options,
    )
    extra = list(chunks)
    if private:
        extra += [
            (b"tEXt", b"Comment\0SECRET-COMMENT"),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
            (b"tIME", bytes(7)),
            (b"prVt", b"SECRET-MAKER"),
        ]
    return with_chunks(output.getvalue(), extra)


def with_chunks(data: bytes, chunks) -> bytes:
    return data[:33] + b"".join(chunk(*c) for c in chunks) + data[33:]


def chunk(name: bytes, payload: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + payload))
    return struct.pack(">I", len(payload)) + name + payload + checksum


def webp(image=None, *, orientation=1, private=True, icc=True, **options) -> bytes:
    output = io.BytesIO()
    (image or photo()).save(
        output,
        "WEBP",
        exif=exif(orientation, private=private) if private or orientation > 1 else b"",
        xmp=XMP if private else b"",
        icc_profile=icc_profile() if icc else b"",
        **options,
    )
    return output.getvalue()


def gif(image=None, *, private=True, **options) -> bytes:
    output = io.BytesIO()
    comment = b"SECRET-COMMENT" if private else b""
    (image or photo().quantize(32)).save(output, "GIF", comment=comment, **options)
    data = output.getvalue()
    if private:
        xmp = b"!\xff\x0bXMP DataXMP" + bytes((len(XMP),)) + XMP + b"\0"
        data = data[:-1] + xmp + b";"
    return data


def frames(count=4, mode="RGB", size=(64, 48)) -> list[Image.Image]:
    return [photo(size, mode, seed=number) for number in range(count)]


def animated(format_name: str, count=4, size=(64, 48), **options) -> bytes:
    """Frames of 40, 50, 60, … ms, shown three times, with the metadata of a still image."""
    make = {"GIF": gif, "PNG": png, "WEBP": webp}[format_name]
    mode = "RGB" if format_name == "GIF" else "RGBA"
    first, *rest = frames(count, mode, size)
    if format_name == "GIF":
        first, *rest = [frame.quantize(16) for frame in (first, *rest)]
    duration = [40 + 10 * number for number in range(count)]
    options = {"save_all": True, "append_images": rest, "duration": duration, "loop": 3} | options
    if format_name == "WEBP":
        options.setdefault("lossless", True)
    return make(first, **options)


def multi_picture() -> bytes:
    """Two JPEGs in one file, as phones and stereo cameras write them."""
    output = io.BytesIO()
    photo().save(output, "MPO", save_all=True, append_images=[photo(seed=2)], quality=95)
    return output.getvalue()


def pixels(data: bytes) -> Image.Image:
    """Decode as a viewer shows it: the orientation is applied."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        orientation = image.getexif().get(0x0112, 1)
        turned = image if orientation == 1 else image.transpose(_UPRIGHT[orientation])
        return turned.copy()


def saved(image, format_name, **options) -> bytes:
    output = io.BytesIO()
    image.save(output, format_name, **options)
    return output.getvalue()


def frames_of(data: bytes) -> list[tuple[Image.Image, int | None, int | None]]:
    """Each frame as it is seen, its duration, and how often all are shown."""
    with Image.open(io.BytesIO(data)) as image:
        return [
            (frame.convert("RGBA"), frame.info.get("duration"), image.info.get("loop"))
            for frame in ImageSequence.Iterator(image)
        ]


def profile_of(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data)) as image:
        return image.info.get("icc_profile")


def exif_of(data: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif()


def same_pixels(one: Image.Image, other: Image.Image) -> bool:
    difference = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA"))
    return one.size == other.size and difference.getbbox(alpha_only=False) is None


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of the samples, 0 to 255; two orientations are at 40 and more."""
    assert one.size == other.size
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(ImageStat.Stat(difference).mean)


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def avif(image=None, *, orientation=1, private=True, **options) -> bytes:
    """An AVIF; `private` is EXIF with GPS, and XMP."""
    return _with_exif("AVIF", image, orientation, private, options)


def heic(image=None, *, orientation=1, private=True, icc=True, **options) -> bytes:
    """A HEIC as a phone makes it; `private` as in `avif`."""
    pillow_heif.register_heif_opener()
    return _with_exif("HEIF", image, orientation, private, options, icc=icc)


def tiff(image=None, *, orientation=1, private=True, **options) -> bytes:
    """A scanner's TIFF; `private` as in `avif`."""
    return _with_exif("TIFF", image, orientation, private, options)


def bmp(image=None) -> bytes:
    return saved(image or photo(), "BMP")


def _with_exif(format_name, image, orientation, private, options, *, icc=True) -> bytes:
    output = io.BytesIO()
    if private and format_name != "TIFF":
        options["xmp"] = XMP
    block = exif(orientation, private=private)
    if icc:
        options["icc_profile"] = icc_profile()
    (image or photo()).save(output, format_name, exif=block, **options)
    return output.getvalue()
