"""GIF: its blocks, and those that a picture needs.

The screen, colour tables, images, graphic controls, loop count and ICC profile are copied.
Comments, XMP, plain text, every other application extension, and all after the trailer go.

Sources: GIF89a, sections 17 to 27; NETSCAPE2.0 and ANIMEXTS1.0 (loop count); ICC.1:2022, B.5.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import InvalidImageError
from app.imaging.metadata.icc import anonymous
from app.imaging.metadata.metadata import Metadata, Stripped, truncated
from app.imaging.metadata.resolution import Resolution

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCREEN_BYTES, _IMAGE_BYTES = 13, 10
_TABLE_FLAG = 0x80
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_PLAIN_TEXT, _GRAPHIC_CONTROL, _COMMENT, _APPLICATION = 0x01, 0xF9, 0xFE, 0xFF
_LOOPS, _ICC = (b"NETSCAPE2.0", b"ANIMEXTS1.0"), b"ICCRGBG1012"
_CONTROL_BYTES, _LOOP_ID, _LOOP_BYTES = 4, 1, 3
_ZEROS = re.compile(rb"\0*")

# A frame has two. Reading this many takes half a second.
_MAX_BLOCKS = 250_000


@dataclass(slots=True)
class _Cursor:
    """A place in a GIF that refuses to run past its end."""

    data: bytes
    position: int = 0

    def read(self, length: int) -> bytes:
        start, self.position = self.position, self.position + length
        if self.position > len(self.data):
            raise truncated()
        return self.data[start : self.position]

    def read_table(self, flags: int) -> bytes:
        """Read the colour table that a packed field announces, if it does."""
        return self.read(3 << (flags & 7) + 1) if flags & _TABLE_FLAG else b""

    def read_sub_blocks(self) -> bytes:
        """Read data sub-blocks up to their terminator, and return them with it (section 15).

        The data may end in place of the terminator.
        """
        start = end = self.position
        while end < len(self.data) and (length := self.data[end]):
            end += length + 1
        if end > len(self.data):
            raise truncated()
        self.position = min(end + 1, len(self.data))
        return self.data[start:end] + b"\0"

    def after_zeros(self) -> int:
        """Return the position of the next byte that is not zero."""
        match = _ZEROS.match(self.data, self.position)
        return match.end() if match else self.position


@dataclass(slots=True)
class _Copy:
    """The copied parts of a GIF, and its properties so far."""

    size: tuple[int, int]
    parts: list[bytes] = field(default_factory=list)
    control: bytes = b""
    frame_count: int = 0
    metadata: Metadata = field(default_factory=Metadata)


def strip(data: bytes) -> Stripped:
    """Copy a GIF without its metadata.

    After a picture, a byte that begins no block ends the file as its trailer would, and so does the
    end of the data: browsers show what came before.

    Raises:
        InvalidImageError: The blocks end early, or hold no picture.
    """
    cursor = _Cursor(data)
    screen = cursor.read(_SCREEN_BYTES)
    width, height, flags = struct.unpack_from("<HHB", screen, 6)
    copy = _Copy((width, height), [screen + cursor.read_table(flags)])
    for _ in range(_MAX_BLOCKS):
        # Stray zeros between blocks are common, and viewers pass over them.
        cursor.position = cursor.after_zeros()
        if copy.frame_count and cursor.position == len(data):
            break
        if (introducer := cursor.read(1)[0]) == _TRAILER:
            break
        if introducer == _IMAGE:
            _copy_image(cursor, copy)
        elif introducer == _EXTENSION:
            _copy_extension(cursor, copy)
        elif copy.frame_count:
            cursor.position -= 1
            break
        else:
            raise InvalidImageError("The image has a block of no known kind.")
    else:
        raise InvalidImageError(f"The image has over {_MAX_BLOCKS:,} blocks.")
    if cursor.position < len(data):
        copy.metadata.others.add("trailer")
    stripped = b"".join((*copy.parts, b";"))
    end, aspect = cursor.position, screen[12]
    # Of the width to the height of a pixel, in 64ths (section 18).
    resolution = Resolution.of(64, aspect + 15, 0) if aspect else None
    return Stripped(stripped, copy.size, 1, end, copy.frame_count, copy.metadata, resolution)


def icc_profile(data: bytes) -> bytes | None:
    """Return the colour profile of a stripped GIF, which no decoder reads (ICC.1:2022, B.5)."""
    cursor = _Cursor(data)
    cursor.read_table(cursor.read(_SCREEN_BYTES)[10])
    while cursor.read(1)[0] == _EXTENSION:
        label, (name, *contents) = cursor.read(1)[0], _contents(cursor.read_sub_blocks())
        if (label, name) == (_APPLICATION, _ICC):
            return b"".join(contents)
    return None


def _contents(sub_blocks: bytes) -> list[bytes]:
    """Return the content of each data sub-block; of none, an empty one."""
    parts, at = [], 0
    while length := sub_blocks[at]:
        parts.append(sub_blocks[at + 1 : at + 1 + length])
        at += 1 + length
    return parts or [b""]


def _copy_image(cursor: _Cursor, copy: _Copy) -> None:
    descriptor = b"," + cursor.read(_IMAGE_BYTES - 1)
    left, top, width, height, flags = struct.unpack_from("<HHHHB", descriptor, 1)
    table = cursor.read_table(flags)
    code_size = cursor.read(1)
    copy.parts.append(copy.control + descriptor + table + code_size + cursor.read_sub_blocks())
    # A frame may lie outside the screen, and the decoder then grows the canvas.
    copy.size = max(copy.size[0], left + width), max(copy.size[1], top + height)
    copy.control, copy.frame_count = b"", copy.frame_count + 1


def _copy_extension(cursor: _Cursor, copy: _Copy) -> None:
    label, sub_blocks = cursor.read(1), cursor.read_sub_blocks()
    block = bytes((_EXTENSION,)) + label + sub_blocks
    kind, (head, *contents) = label[0], _contents(sub_blocks)
    if kind == _GRAPHIC_CONTROL and len(head) >= _CONTROL_BYTES:
        # Viewers read the fields that they know, and so a longer one; Pillow does not.
        copy.control = _extension(kind, head[:_CONTROL_BYTES])
    elif kind == _APPLICATION and head in _LOOPS and (loops := _loops(contents)):
        copy.parts.append(_extension(kind, head, loops))
        copy.metadata.size_bytes += len(block)
    elif kind == _APPLICATION and head == _ICC:
        copy.parts.append(_extension(kind, head, *_anonymous(contents)))
        copy.metadata.size_bytes += len(block)
    elif kind == _APPLICATION and head == b"XMP DataXMP":
        copy.metadata.add_other("xmp", block)
    else:
        # Viewers show no plain text, and give its graphic control to the next image.
        names = {_PLAIN_TEXT: "text", _COMMENT: "comment"}
        copy.metadata.add_other(names.get(kind, "other"), block)


def _loops(contents: list[bytes]) -> bytes:
    """Return the loop count among the sub-blocks of an application, of which others may buffer."""
    for each in contents:
        if len(each) >= _LOOP_BYTES and each[0] & 7 == _LOOP_ID:
            return bytes((_LOOP_ID,)) + each[1:_LOOP_BYTES]
    return b""


def _anonymous(contents: list[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a colour profile that names no device, each as long as before."""
    profile, at = anonymous(b"".join(contents)), 0
    for each in contents:
        yield profile[at : at + len(each)]
        at += len(each)


def _extension(label: int, *contents: bytes) -> bytes:
    packed = b"".join(bytes((len(each),)) + each for each in contents)
    return bytes((_EXTENSION, label)) + packed + b"\0"
