"""TIFFs byte by byte: directories of any entries, of which Pillow writes few."""

import struct

BYTE, ASCII, SHORT, LONG, RATIONAL, IFD = 1, 2, 3, 4, 5, 13
_FORMS = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", IFD: "I"}
WIDTH, HEIGHT, ORIENTATION, NEW_SUBFILE_TYPE, SUB_DIRECTORIES = 256, 257, 274, 254, 330


def tiff(*directories, order="<") -> bytes:
    """A TIFF of these directories: each of `{tag: (kind, *values)}`, as `grey` makes them."""
    data = b"II*\0" if order == "<" else b"MM\0*"
    body, link = bytearray(data + bytes(4)), 4
    for directory in directories:
        entries = dict(directory)
        if pixels := entries.pop("pixels", b""):
            entries |= {273: (LONG, len(body)), 279: (LONG, len(pixels))}
            body += pixels + bytes(len(pixels) % 2)
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
    return {
        "pixels": bytes((value,)) * (width * height // 2) + bytes(width * height // 2),
        WIDTH: (SHORT, width),
        HEIGHT: (SHORT, height),
        258: (SHORT, 8),
        259: (SHORT, 1),
        262: (SHORT, 1),
        277: (SHORT, 1),
        278: (SHORT, height),
    } | {int(name[1:]): entry for name, entry in more.items()}
