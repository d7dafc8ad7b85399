"""PNGs of two halves, transparent in ways that decoders disagree on."""

import struct

from tests.support import odd_images

GREY, TRUECOLOUR, PALETTE = 0, 2, 3
SIZE = (64, 32)


def halves(left, right, bit_depth, colour_type, chunks, size=SIZE):
    """A PNG whose left half has one colour and whose right half another, in samples."""
    width, height = size
    samples = [*(list(left) * (width // 2)), *(list(right) * (width // 2))]
    if bit_depth == 16:
        row = struct.pack(f">{len(samples)}H", *samples)
    else:
        bits = "".join(f"{sample:0{bit_depth}b}" for sample in samples)
        row = int(bits, 2).to_bytes(len(bits) // 8)
    return odd_images.png_of_rows(size, bit_depth, colour_type, [row] * height, chunks)


KEYED = {
    "1 bit, as Pillow writes it": ((1,), (0,), 1, GREY, b"\0\xff"),
    "2 bits": ((2,), (1,), 2, GREY, b"\0\2"),
    "4 bits, key too deep": ((5,), (4,), 4, GREY, b"\xff\xf5"),
    "8 bits, key too deep": ((5,), (4,), 8, GREY, b"\1\5"),
    "16 bits": ((0x1234,), (0x1235,), 16, GREY, b"\x12\x34"),
    "RGB, key too deep": ((1, 2, 3), (1, 2, 4), 8, TRUECOLOUR, b"\1\1\2\2\3\3"),
    "RGB of 16 bits": ((257, 2, 3), (258, 2, 3), 16, TRUECOLOUR, b"\1\1\0\2\0\3"),
}


PLTE = (b"PLTE", bytes((200, 0, 0, 0, 200, 0)))
UNHEEDED = {
    "before the palette": [(b"tRNS", b"\0"), PLTE],
    "longer than the palette": [PLTE, (b"tRNS", b"\0\xff\xff")],
    "empty": [PLTE, (b"tRNS", b"")],
}
