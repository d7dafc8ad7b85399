"""Synthetic blocks of metadata: EXIF as a camera writes it, XMP and IPTC."""

import struct

from tests.support import images

NOTICE = "(c) 2026 A. Photographer"
RIGHTS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights><rdf:Alt>'
    b'<rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:rights></rdf:Description></rdf:RDF>'
    b"</x:xmpmeta>"
)
CREATOR = RIGHTS % b"All mine" + b" " * 100
IPTC = b"\x1c\x02\x74\x00\x08All mine"
CITY = b"\x1c\x02\x5a\x00\x06Vienna"


def camera_exif(orientation=6, byte_order=">", size=(320, 240)) -> bytes:
    """A block as cameras write it: GPS, maker's notes, copyright, and a thumbnail with GPS too."""
    thumbnail = images.jpeg(images.photo((16, 12)), icc=False)
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


def packet(properties):
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        b' xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        b' xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"'
        b' xmlns:GImage="http://ns.google.com/photos/1.0/image/">%s</rdf:RDF></x:xmpmeta>'
        % properties
    )
