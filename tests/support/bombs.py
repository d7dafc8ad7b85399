"""Small files that ask a decoder for much memory or time."""

import io
import struct
import zlib

from PIL import Image

from tests.support.images import chunk


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
