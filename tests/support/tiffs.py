"""TIFFs of kinds that Pillow does not write: byte by byte."""

import struct

SIZE = (32, 4)
_SHORT, _LONG = 3, 4
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _BYTES, _PLANES = 273, 277, 278, 279, 284


def rows(*pixels, size=SIZE):
    """The left half of one pixel, the right half of another."""
    left, right = pixels
    width, height = size
    return (left * (width // 2) + right * (width // 2)) * height


def tiff(size, bits, photometric, planes, order="<", **more) -> bytes:
    """A TIFF, not packed.

    Args:
        size: Width and height.
        bits: Bits of each sample.
        photometric: How samples become colours; None leaves the tag out.
        planes: The bytes of the picture, or of each plane.
        order: Byte order.
        more: Further SHORT entries: `tag_277=(3,)`.
    """
    width, height = size
    entries = {
        _WIDTH: (_SHORT, (width,)),
        _HEIGHT: (_SHORT, (height,)),
        _BITS: (_SHORT, tuple(bits)),
        _COMPRESSION: (_SHORT, (1,)),
        _PHOTOMETRIC: (_SHORT, (photometric,)),
        _SAMPLES: (_SHORT, (len(bits),)),
        _ROWS: (_SHORT, (height,)),
        _BYTES: (_LONG, tuple(len(plane) for plane in planes)),
        _OFFSETS: (_LONG, (0,) * len(planes)),
        _PLANES: (_SHORT, (1 if len(planes) == 1 else 2,)),
    }
    entries |= {int(name[4:]): (_SHORT, values) for name, values in more.items()}
    if photometric is None:
        del entries[_PHOTOMETRIC]
    data_at = 8 + 2 + 12 * len(entries) + 4
    values_bytes = sum(_packed_bytes(*entry) for entry in entries.values())
    at, offsets = data_at + values_bytes, []
    for plane in planes:
        offsets.append(at)
        at += len(plane)
    entries[_OFFSETS] = (_LONG, tuple(offsets))
    table, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, numbers) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == _SHORT else 'I'}", *numbers)
        table += struct.pack(f"{order}HHI", tag, kind, len(numbers))
        if len(packed) > 4:
            table += struct.pack(f"{order}I", data_at + len(values))
            values += packed
        else:
            table += packed.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return start + table + bytes(4) + values + b"".join(planes)


def _packed_bytes(kind, numbers) -> int:
    length = len(numbers) * (2 if kind == _SHORT else 4)
    return length if length > 4 else 0
