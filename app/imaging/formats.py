"""The image formats that are accepted, and their first bytes.

Only magic bytes count; a declared content type or a file name never does.

Sources: JPEG (ITU-T T.81, B.1.1.3), PNG (W3C PNG 3, 5.2), GIF (GIF89a, 17), WebP (RFC 9649, 2.4),
ISO-BMFF brands (ISO/IEC 14496-12, 4.3; mp4ra.org).
"""

from __future__ import annotations

import importlib.util
import re
from enum import Enum
from typing import TYPE_CHECKING

from app.errors import EmptyBodyError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Collection

# Enough for every magic number below, and for the XML prologue before an `<svg>` element.
SNIFF_BYTES = 256


class ImageFormat(Enum):
    """An accepted format; the value is the subtype of its registered content type."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    AVIF = "avif"
    HEIC = "heic"
    TIFF = "tiff"
    BMP = "bmp"

    @property
    def content_type(self) -> str:
        """The registered content type, such as `image/jpeg`."""
        return f"image/{self.value}"

    @property
    def label(self) -> str:
        """The name for people."""
        return "WebP" if self is ImageFormat.WEBP else self.name

    @property
    def extension(self) -> str:
        """The usual file name extension with its dot, such as `.jpg`."""
        return {ImageFormat.JPEG: ".jpg", ImageFormat.TIFF: ".tif"}.get(self, f".{self.value}")


_ACCEPTED = {
    ImageFormat.JPEG: re.compile(rb"\xff\xd8\xff"),
    ImageFormat.PNG: re.compile(rb"\x89PNG\r\n\x1a\n"),
    ImageFormat.WEBP: re.compile(rb"RIFF....WEBP", re.DOTALL),
    ImageFormat.GIF: re.compile(rb"GIF8[79]a"),
    # The major brand, or one of the compatible ones, of which a phone's file names a handful.
    ImageFormat.AVIF: re.compile(rb"\0\0\0.ftyp(?:....)*?avi[fs]", re.DOTALL),
    ImageFormat.HEIC: re.compile(
        rb"\0\0\0.ftyp(?:....)*?(?:hei[cmsx]|hev[cmsx]|mif[123]|msf1)", re.DOTALL
    ),
    ImageFormat.TIFF: re.compile(rb"II\*\0(?!....CR)|MM\0\*", re.DOTALL),
    # Its size and four bytes for programs, the place of its pixels, and the size of its header.
    ImageFormat.BMP: re.compile(rb"BM.{12}[\x0c-\xff]\0{3}", re.DOTALL),
}

# Formats whose decoder is an extra that is not installed.
LACKING = frozenset() if importlib.util.find_spec("pillow_heif") else {ImageFormat.HEIC}

ACCEPTED = tuple(each for each in ImageFormat if each not in LACKING)

# The others, whose metadata cannot be removed without encoding them again, become another format.
STORED = tuple(each for each in ImageFormat if each.value not in {"tiff", "bmp"})

# Files that people do send by mistake, most specific first, so that the refusal can name them.
_RECOGNISED = {
    "a camera's raw file": re.compile(rb"II\*\0....CR|FUJIFILMCCD-RAW|....ftypcrx ", re.DOTALL),
    "BigTIFF": re.compile(rb"II\+\0|MM\0\+"),
    "PostScript": re.compile(rb"%!PS"),
    "SVG": re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml.*|<!--.*|<!DOCTYPE svg.*)?<svg[\s>]", re.DOTALL),
    "PDF": re.compile(rb"%PDF-"),
    "JPEG XL": re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"),
    "JPEG 2000": re.compile(rb"\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n"),
    "ICO": re.compile(rb"\x00\x00[\x01\x02]\x00[^\x00]"),
    "PNM": re.compile(rb"P[1-7]\s"),
    "PSD": re.compile(rb"8BPS"),
    "video": re.compile(rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", re.DOTALL),
    "ZIP": re.compile(rb"PK\x03\x04"),
    "HTML": re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE),
}


def sniff(head: bytes, allowed: Collection[ImageFormat] = ACCEPTED) -> ImageFormat:
    """Tell the format from the first bytes.

    Args:
        head: The first `SNIFF_BYTES` of the file, or all of it.
        allowed: Those of the accepted formats that this client may send.

    Raises:
        EmptyBodyError: There are none.
        UnsupportedFormatError: Not an accepted format; the detail names the likely one.
    """
    head = head[:SNIFF_BYTES]
    for image_format, magic in _ACCEPTED.items():
        if magic.match(head):
            if image_format in LACKING:
                seen = f"{image_format.label}, whose decoder is not installed here"
                raise _refusal(seen, allowed)
            if image_format not in allowed:
                raise _refusal(image_format.label, allowed)
            return image_format
    if not head:
        raise EmptyBodyError("The file is empty.")
    names = (name for name, magic in _RECOGNISED.items() if magic.match(head))
    raise _refusal(next(names, "no known image format"), allowed)


def _refusal(seen: str, allowed: Collection[ImageFormat]) -> UnsupportedFormatError:
    labels = ", ".join(each.label for each in allowed)
    return UnsupportedFormatError(
        f"This looks like {seen}. Accepted are {labels}.",
        ", ".join(each.content_type for each in allowed),
    )
