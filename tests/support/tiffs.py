"""TIFFs byte by byte: any directories, and pictures of kinds that Pillow does not write."""

import struct

BYTE, ASCII, SHORT, LONG, RATIONAL, IFD = 1, 2, 3, 4, 5, 13
_FORMS = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", IFD: "I"}
WIDTH, HEIGHT, ORIENTATION, NEW_SUBFILE_TYPE, SUB_DIRECTORIES = 256, 257, 274, 254, 330
OFFSETS, SIZE = 273, (32, 4)


def tiff(*directories, order="<") -> bytes:
    """A TIFF of these directories: each of `{tag: (kind, *values)}`, as `grey` makes them."""
    data = b"II*\0" if order == "<" else b"MM\0*"
    body, link = bytearray(data + bytes(4)), 4
    for directory in directories:
        entries = dict(directory)
        places = []
        for plane in entries.pop("planes", ()):
            places.append(len(body))
            body += plane + bytes(len(plane) % 2)
        if places:
            entries[OFFSETS] = (LONG, *places)
        table = struct.pack(f"{order}H", len(entries))
        for tag, (kind, *values) in sorted(entries.items()):
            form = _FORMS[kind]
            count = len(values) // len(form)
            packed = struct.pack(f"{order}{form * count}", *values)
            if len(packed) > 4:
                at = len(body)
                body += packed + bytes(len(packed) % 2)
                packed = struct.pack(f"{order}I", at)
            table += struct.pack(f"{order}HHI", tag, kind, count) + packed.ljust(4, b"\0")
        struct.pack_into(f"{order}I", body, link, len(body))
        body += table
        link = len(body)
        body += bytes(4)
    return bytes(body)


def grey(size=(64, 48), value=100, **more) -> dict:
    """A directory of a picture of 8-bit grey; `more` is of entries as `t274=(SHORT, 6)`."""
    width, height = size
    pixels = bytes((value,)) * (width * height // 2) + bytes(width * height // 2)
    return {
        "planes": [pixels],
        WIDTH: (SHORT, width),
        HEIGHT: (SHORT, height),
        258: (SHORT, 8),
        259: (SHORT, 1),
        262: (SHORT, 1),
        277: (SHORT, 1),
        278: (SHORT, height),
        279: (LONG, len(pixels)),
    } | {int(name[1:]): entry for name, entry in more.items()}


def rows(*pixels, size=SIZE):
    """The left half of one pixel, the right half of another."""
    left, right = pixels
    width, height = size
    return (left * (width // 2) + right * (width // 2)) * height


def of_planes(size, bits, photometric, planes, order="<", **more) -> bytes:
    """A TIFF of one page, not packed.

    Args:
        size: Width and height.
        bits: Bits of each sample.
        photometric: How samples become colours; None leaves the tag out.
        planes: The bytes of the picture, or of each plane.
        order: Byte order.
        more: Further SHORT entries: `tag_277=(3,)`.
    """
    width, height = size
    page = {
        "planes": planes,
        WIDTH: (SHORT, width),
        HEIGHT: (SHORT, height),
        258: (SHORT, *bits),
        259: (SHORT, 1),
        277: (SHORT, len(bits)),
        278: (SHORT, height),
        279: (LONG, *map(len, planes)),
        284: (SHORT, 1 if len(planes) == 1 else 2),
    }
    page |= {} if photometric is None else {262: (SHORT, photometric)}
    return tiff(
        page | {int(name[4:]): (SHORT, *values) for name, values in more.items()}, order=order
    )
