"""The entries of EXIF by their tags, and which of them may go on with a picture.

Sources: EXIF 2.32 (CIPA DC-008), 4.6; TIFF 6.0, sections 8 to 21; Windows Imaging Component.
"""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    """Entries that are read or written, not only copied."""

    ORIENTATION = 0x0112
    ACROSS = 0x011A
    DOWN = 0x011B
    UNIT = 0x0128
    XMP = 0x02BC
    THUMBNAIL = 0x0201
    COPYRIGHT = 0x8298
    IPTC = 0x83BB
    CAMERA = 0x8769
    GPS = 0x8825
    MAKER_NOTE = 0x927C
    USER_COMMENT = 0x9286
    WIDTH = 0xA002
    HEIGHT = 0xA003


# How a TIFF stores its pixels (TIFF 6.0, sections 8 to 21): says nothing of the picture.
STRUCTURE = frozenset({*range(254, 269), *range(273, 282), *range(284, 294), *range(317, 348)})

SAID_ELSEWHERE = frozenset({Tag.ORIENTATION, Tag.XMP, Tag.COPYRIGHT, Tag.IPTC, Tag.CAMERA, Tag.GPS})

# Entries that have a name of their own in a receipt, or change with the picture.
NAMED = frozenset(Tag) - {Tag.ACROSS, Tag.DOWN, Tag.UNIT}

# Descriptions, camera, resolution, software, date, artist, sampling; ratings, title and author as
# Windows has them, not its comments and keywords.
PICTURE_TAGS = frozenset(
    {*range(0x010D, 0x0111), 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C}
    | {0x0213, 0x4746, 0x4749, 0x9C9B, 0x9C9D}
)

# EXIF 2.32, 4.6.5, without the maker's notes and entries that point elsewhere.
CAMERA_TAGS = frozenset(
    {0x829A, 0x829D, *range(0x8822, 0x8836), *range(0x9000, 0x9406), *range(0xA000, 0xA501)}
    - {0x8825, 0x927C, 0xA005}
)


# Of the body and the lens: they tie pictures together, and to a person.
SERIAL_NUMBERS = (0xA431, 0xA435)
