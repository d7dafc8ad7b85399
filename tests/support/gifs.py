"""GIFs whose blocks have other lengths than usual: byte by byte."""

import struct

CONTROL = b"\x04" + b"\x05" + struct.pack("<H", 30) + b"\1"
LONG_CONTROL = b"\x05" + CONTROL[1:] + b"\xaa"
APPLICATION = b"!\xff\x0b"
LOOPS = b"\x03\1\0\0"
BUFFERING = b"\x05\2\0\0\1\0"


def gif(control=CONTROL, loops=b"", between=b""):
    """Two frames of two colours each."""
    frame = b",\0\0\0\0\2\0\2\0\0" + b"\2\3\x44\x34\x05\0"
    one = b"!\xf9" + control + b"\0" + between + frame
    return b"GIF89a\2\0\2\0\x80\0\0" + b"\xff\0\0\0\xff\0" + loops + one * 2 + b";"


def icc_block(profile):
    """A colour profile in sub-blocks of 255 bytes (ICC.1:2022, B.5)."""
    pieces = (profile[at : at + 255] for at in range(0, len(profile), 255))
    return b"!\xff\x0bICCRGBG1012" + b"".join(bytes((len(each),)) + each for each in pieces) + b"\0"
