"""Which image formats are taken, and how their first bytes are told apart.

Only magic bytes count; a declared media type or a file name never does. Sources: JPEG (ITU-T T.81,
B.1.1.3), PNG (W3C PNG 3, 5.2), GIF (GIF89a, 17), WebP (RFC 9649, 2.4), ISO-BMFF brands (ISO/IEC
14496-12, 4.3; mp4ra.org).
"""

from __future__ import annotations

import re
from enum import Enum

from app.errors import UnsupportedFormatError

SNIFF_BYTES = 256
"""Enough for every magic number below, and for the XML prologue before an `<svg>` element."""


class ImageFormat(Enum):
    """A format that is taken and stored; the value is Pillow's name of it."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    GIF = "GIF"

    @property
    def media_type(self) -> str:
        """The registered media type, such as `image/jpeg`."""
        return f"image/{self.value.lower()}"

    @property
    def label(self) -> str:
        """The name for people."""
        return "WebP" if self is ImageFormat.WEBP else self.value

    @property
    def extension(self) -> str:
        """The usual file name extension with its dot, such as `.jpg`."""
        return ".jpg" if self is ImageFormat.JPEG else f".{self.value.lower()}"


_ACCEPTED = {
    ImageFormat.JPEG: re.compile(rb"\xff\xd8\xff"),
    ImageFormat.PNG: re.compile(rb"\x89PNG\r\n\x1a\n"),
    ImageFormat.WEBP: re.compile(rb"RIFF....WEBP", re.DOTALL),
    ImageFormat.GIF: re.compile(rb"GIF8[79]a"),
}

_RECOGNISED = {
    "HEIC": re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "AVIF": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\x00|MM\x00[*+]"),
    "BMP": re.compile(rb"BM.{4}\x00{4}", re.DOTALL),
    "SVG": re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml.*|<!--.*|<!DOCTYPE svg.*)?<svg[\s>]", re.DOTALL),
    "PDF": re.compile(rb"%PDF-"),
    "JPEG XL": re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"),
    "JPEG 2000": re.compile(rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n"),
    "ICO": re.compile(rb"\x00\x00[\x01\x02]\x00"),
    "PSD": re.compile(rb"8BPS"),
    "video": re.compile(rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", re.DOTALL),
    "ZIP": re.compile(rb"PK\x03\x04"),
    "HTML": re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE),
}
"""What people do send by mistake, most specific first, so that the refusal can name it."""


def sniff(head: bytes) -> ImageFormat:
    """Tell the format from the first bytes.

    Args:
        head: the first `SNIFF_BYTES` of the file, or all of it.

    Raises:
        UnsupportedFormatError: not a format that is taken; the detail names what it looks like.
    """
    head = head[:SNIFF_BYTES]
    for image_format, magic in _ACCEPTED.items():
        if magic.match(head):
            return image_format
    names = (name for name, magic in _RECOGNISED.items() if magic.match(head))
    raise UnsupportedFormatError(
        f"This looks like {next(names, 'no known image format')}. "
        f"Accepted are {', '.join(f.label for f in ImageFormat)}."
    )
