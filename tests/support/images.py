"""Images to test with, synthesised: gradients with noise, like a photo, and every kind of metadata.

Pixels are compared through `pixels` and `distance`, never file bytes.
"""

from __future__ import annotations

import io
import random
import struct
import zlib

import pillow_heif
from PIL import Image, ImageChops, ImageCms, ImageStat

SECRETS = (b"SECRET-MAKER", b"SECRET-GPS", b"SECRET-XMP", b"SECRET-COMMENT", b"SECRET-THUMBNAIL")
"""What `jpeg`, `png`, `webp` and `gif` hide in metadata; none of it may be stored."""

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SECRET-XMP</x:xmpmeta>'
ARCHIVE = b"PK\x03\x04SECRET-ARCHIVE" + bytes(64)


def icc_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_profile(gamma=1.0) -> bytes:
    """A profile of grey with another gamma than usual (ICC.1:2001-04, 6.3.3)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, int(gamma * 256), 0)
    return _profile(b"mntr", b"GRAY", b"XYZ ", [(b"kTRC", curve)])


def cmyk_profile() -> bytes:
    """A printer's profile that has every ink mixture as a shade of green, unlike any formula.

    The smallest that littlecms takes (ICC.1:2001-04, 6.5.6): two points an axis, Lab in 8 bits.
    """
    ramp = bytes(range(256))
    corners = b"".join(bytes((255 - 50 * inks.bit_count(), 60, 190)) for inks in range(16))
    identity = b"".join(struct.pack(">i", 65_536 * (n % 4 == 0)) for n in range(9))
    table = b"mft1" + bytes((0, 0, 0, 0, 4, 3, 2, 0)) + identity + ramp * 4 + corners + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", [(b"A2B0", table)])


def _profile(device, space, connection, own_tags) -> bytes:
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    words = b"desc\0\0\0\0\0\0\0\5test\0".ljust(96, b"\0")
    contents = [*own_tags, (b"wtpt", white), (b"desc", words)]
    tags, body, at = b"", b"", 128 + 4 + 12 * len(contents)
    for name, content in contents:
        tags += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kinds = (device, space, connection)
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, *kinds)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", len(contents)) + tags + body


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


def camera_exif(orientation=6, byte_order=">", size=(320, 240)) -> bytes:
    """A block as cameras write it: GPS, maker's notes, copyright, and a thumbnail with GPS too."""
    thumbnail = jpeg(photo((16, 12)), icc=False)
    gps = {
        1: (2, b"N\0"),
        2: (5, struct.pack(f"{byte_order}6I", 43, 1, 28, 1, 0, 1)),
        0x1B: (7, b"SECRET-GPS"),
    }
    camera = {
        0x9003: (2, b"2026:11:25 12:00:00\0"),
        0x927C: (7, b"SECRET-MAKER-NOTE"),
        0x9286: (7, b"ASCII\0\0\0SECRET-COMMENT"),
        0xA002: (3, struct.pack(f"{byte_order}H", size[0])),
        0xA003: (4, struct.pack(f"{byte_order}I", size[1])),
    }
    picture = {
        0x010F: (2, b"SECRET-MAKER\0"),
        0x0112: (3, struct.pack(f"{byte_order}H", orientation)),
        0x8298: (2, NOTICE.encode() + b"\0"),
    }
    second = {0x0103: (3, struct.pack(f"{byte_order}H", 6))}
    return _tiff_block(byte_order, picture, {0x8769: camera, 0x8825: gps}, second, thumbnail)


NOTICE = "(c) 2026 A. Photographer"


def _tiff_block(order, picture, inner, second, thumbnail) -> bytes:
    def directory(entries, at, following=0):
        table, values = struct.pack(f"{order}H", len(entries)), b""
        values_at = at + 2 + 12 * len(entries) + 4
        for tag, (kind, value) in sorted(entries.items()):
            size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
            table += struct.pack(f"{order}HHI", tag, kind, len(value) // size)
            if len(value) > 4:
                table += struct.pack(f"{order}I", values_at + len(values))
                values += value + b"\0" * (len(value) % 2)
            else:
                table += value.ljust(4, b"\0")
        return table + struct.pack(f"{order}I", following) + values

    def long(number):
        return (4, struct.pack(f"{order}I", number))

    at, parts, pointers = 8, [], {}
    for tag, entries in inner.items():
        pointers[tag] = long(at)
        parts.append(directory(entries, at))
        at += len(parts[-1])
    parts.append(thumbnail + b"\0" * (len(thumbnail) % 2))
    second = second | {0x0201: long(at), 0x0202: long(len(thumbnail))}
    at += len(parts[-1])
    second_at = at
    parts.append(directory(second, at))
    at += len(parts[-1])
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at)
    return header + b"".join(parts) + directory(picture | pointers, at, second_at)


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


def bomb_png(side=13_300) -> bytes:
    """177 megapixels of one colour in 22 KB."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 2) * side), 9)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_bomb_png(side=13_300) -> bytes:
    """The same in 24 bits a pixel: half a megabyte that unpacks to half a gigabyte."""
    packer = zlib.compressobj(9)
    row = bytes(side * 3 + 1)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def long_gif(count) -> bytes:
    """Frames of one pixel, 15 bytes each."""
    frame = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * count + b";"


def spinning_jpeg(side=7000, scans=90) -> bytes:
    """A progressive JPEG of 200 KB whose last scan comes again and again, at 50 ms each."""
    output = io.BytesIO()
    Image.new("L", (side, side), 128).save(output, "JPEG", progressive=True, quality=50)
    data = output.getvalue()
    tables = data.rindex(b"\xff\xc4")
    return data[:-2] + data[tables:-2] * scans + data[-2:]


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


def raw_png(size, bit_depth: int, colour_type: int, channels: int, colour_key=b"") -> bytes:
    """A PNG of any bit depth and colour type, not packed at all."""
    width, height = size
    row_bytes = width * channels * bit_depth // 8
    rows = (b"\0" + bytes(number % 256 for number in range(row_bytes))) * height
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)),
        *([(b"tRNS", colour_key)] if colour_key else []),
        (b"IDAT", zlib.compress(rows, 0)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


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


def deep_tiff(size) -> bytes:
    """Colours of 16 bits, not packed, which Pillow reads and does not write."""
    width, height = size
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8 + 2 + 12 * 9 + 4), (259, 3, 1, 1)),
        *((262, 3, 1, 2), (273, 4, 1, 130), (277, 3, 1, 3), (278, 3, 1, height)),
        (279, 4, 1, width * height * 6),
    ]
    table = b"".join(
        struct.pack("<HHI", *entry[:3])
        + (struct.pack("<HH", entry[3], 0) if entry[1:3] == (3, 1) else struct.pack("<I", entry[3]))
        for entry in entries
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    head += struct.pack("<HHH", 16, 16, 16)
    return head.ljust(130, b"\0") + random.Random(1).randbytes(width * height * 6)


def interlaced_png(size=(24, 16)) -> bytes:
    """A grey ramp in the seven passes of Adam7 (W3C PNG 3, 8)."""
    width, height = size
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    rows = b""
    for left, top, across, down in [*passes, (0, 1, 1, 2)]:
        for y in range(top, height, down):
            rows += b"\0" + bytes(x * 9 + y for x in range(left, width, across))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def bmp(image=None) -> bytes:
    output = io.BytesIO()
    (image or photo()).save(output, "BMP")
    return output.getvalue()


def _with_exif(format_name, image, orientation, private, options, *, icc=True) -> bytes:
    output = io.BytesIO()
    if private and format_name != "TIFF":
        options["xmp"] = XMP
    block = exif(orientation, private=private)
    if icc:
        options["icc_profile"] = icc_profile()
    (image or photo()).save(output, format_name, exif=block, **options)
    return output.getvalue()
