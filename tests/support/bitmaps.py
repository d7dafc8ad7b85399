"""BMPs of kinds that Pillow does not write: byte by byte."""

import struct

INFO, V3, V5 = 40, 56, 124
RGB, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS = 0, 1, 2, 3, 6
PALETTE = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (250, 250, 250)]

# Width 5, so that rows are odd; the lower row first.
RUNS = {
    "RLE8": (8, RLE8, bytes((2, 0, 3, 1, 0, 0, 0, 5, 0, 1, 2, 3, 0, 0, 0, 0, 0, 1))),
    "RLE4": (4, RLE4, bytes((2, 0, 3, 0x11, 0, 0, 0, 5, 0x01, 0x23, 0, 0, 0, 0, 0, 1))),
}


def bmp(
    size,
    bits,
    pixels,
    *,
    compression=RGB,
    palette=(),
    masks=(),
    header_bytes=INFO,
    per_metre=(0, 0),
    icc_profile=b"",
    top_down=False,
    padding=0,
) -> bytes:
    """A BMP of these bytes of pixels; `padding` stands before them."""
    width, height = size
    table = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    mask_bytes = struct.pack(f"<{len(masks)}I", *masks)
    after = b"" if header_bytes > INFO else mask_bytes
    offset = 14 + header_bytes + len(after) + len(table) + padding
    header = struct.pack(
        "<IiiHHI", header_bytes, width, -height if top_down else height, 1, bits, 0
    )
    header = header[:16] + struct.pack(
        "<IIiiII", compression, len(pixels), *per_metre, len(palette), 0
    )
    header = (header + (mask_bytes if header_bytes > INFO else b"")).ljust(header_bytes, b"\0")
    if icc_profile:
        place = offset - 14 + len(pixels)
        header = header[:56] + b"DEBM" + header[60:112]
        header += struct.pack("<III", place, len(icc_profile), 0)
    start = b"BM" + struct.pack("<IHHI", offset + len(pixels) + len(icc_profile), 0, 0, offset)
    return start + header + after + table + bytes(padding) + pixels + icc_profile


def rows(size, bits, values) -> bytes:
    """Pack a row of values, and repeat it for each row of the picture."""
    width, height = size
    if bits >= 8:
        row = b"".join(value.to_bytes(bits // 8, "little") for value in values)
    else:
        text = "".join(f"{value:0{bits}b}" for value in values)
        row = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))
    return row.ljust((width * bits + 31) // 32 * 4, b"\0") * height
