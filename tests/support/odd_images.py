"""Images of kinds that Pillow does not write: byte by byte."""

import random
import struct
import zlib

from PIL import Image

from tests.support.images import chunk, saved, segment


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


def png_of_rows(size, bit_depth: int, colour_type: int, rows, chunks=()) -> bytes:
    """A PNG of rows of packed samples, with `chunks` before its data."""
    header = struct.pack(">IIBBBBB", *size, bit_depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in every)


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


def without_flags(data: bytes) -> bytes:
    """A WebP that has a profile and EXIF, and does not say so."""
    at = data.index(b"VP8X") + 8
    return data[:at] + bytes((data[at] & 0x12,)) + data[at + 1 :]


def jpeg_beyond_its_range(blocks=8) -> bytes:
    """A JPEG that decoders show, with coefficients of 12 bits, at which MozJPEG ends its process.

    Its Huffman table for AC has two codes: the end of a block, and a coefficient of 12 bits.
    """
    data = saved(Image.new("L", (8 * blocks, 8), 128), "JPEG", quality=60)
    start = data.index(b"\xff\xda")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    table = segment(0xC4, bytes([0x10, 1, 1, *bytes(14), 0x00, 0x0C]))
    bits = ("00" + "10" + format(4000, "012b") + "0") * blocks
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
    return data[:start] + table + data[start:end] + scan + b"\xff\xd9"
