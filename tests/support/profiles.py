"""Synthetic colour profiles that change the colours of a picture visibly."""

import struct


def grey_profile(gamma=1.0) -> bytes:
    """A profile of grey with another gamma than usual (ICC.1:2001-04, 6.3.3)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, int(gamma * 256), 0)
    return _profile(b"mntr", b"GRAY", b"XYZ ", [(b"kTRC", curve)])


def cmyk_profile() -> bytes:
    """A printer's profile that shows every ink mixture as a shade of green, unlike any formula.

    The smallest that littlecms accepts (ICC.1:2001-04, 6.5.6): two points an axis, Lab in 8 bits.
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


def of_a_screen(profile: bytes) -> bytes:
    """A profile with the tags in which Apple's screens and colour managers name a device."""
    made = b"mmod" + bytes(4) + b"SECRET-MODEL-SERIAL-DATE".ljust(32, b"!")
    listed = b"dict" + bytes(4) + struct.pack(">II", 1, 16) + b"SECRET-EDID".ljust(40, b"!")
    (count,) = struct.unpack_from(">I", profile, 128)
    end, added = 132 + 12 * count, 24
    tags = [struct.unpack_from(">4sII", profile, at) for at in range(132, end, 12)]
    tags = [(name, at + added, length) for name, at, length in tags]
    tags += [(b"mmod", len(profile) + added, len(made))]
    tags += [(b"meta", len(profile) + added + len(made), len(listed))]
    table = b"".join(struct.pack(">4sII", *tag) for tag in tags)
    whole = profile[4:128] + struct.pack(">I", count + 2) + table + profile[end:] + made + listed
    return struct.pack(">I", len(whole) + 4) + whole


def rgb_profile() -> bytes:
    """A profile whose red is sRGB's blue, and the other way round (ICC.1:2001-04, 6.3.1.2)."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, int(2.2 * 256), 0)
    red, green, blue = (0x6FA2, 0x38F5, 0x0390), (0x6299, 0xB785, 0x18DA), (0x24A0, 0x0F84, 0xB6CF)
    colours = [
        (name, b"XYZ \0\0\0\0" + struct.pack(">iii", *values))
        for name, values in ((b"rXYZ", blue), (b"gXYZ", green), (b"bXYZ", red))
    ]
    curves = [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return _profile(b"mntr", b"RGB ", b"XYZ ", [*colours, *curves])
