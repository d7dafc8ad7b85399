"""`ImageInfo`: the properties of a stored image, collected once.

Imaging fills it. The record's headers, the event, the catalog's row and the JSON of the API are
views of it, so that a property is added here and shows up in all of them. Records of other programs
are read into it too, and pydantic then checks the constraints. They come from annotated-types:
importing pydantic would cost each codec worker 7 MB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Predicate

_PICTURE = re.compile(r"image/(?!svg)[a-z0-9.+-]{1,60}")
# Control characters and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SHA_256 = re.compile(r"[0-9a-f]{64}")


def is_picture(content_type: str) -> bool:
    """Tell whether browsers show this as a picture, and never run it: SVG holds scripts."""
    return _PICTURE.fullmatch(content_type) is not None


def is_printable(name: str) -> bool:
    """Tell whether a name may be put into a header."""
    return _UNPRINTABLE.search(name) is None


def is_sha_256(digest: str) -> bool:
    """Tell whether this is a SHA-256 in hex."""
    return _SHA_256.fullmatch(digest) is not None


_Bytes = Annotated[int, Ge(0)]
_Count = Annotated[int, Gt(0)]
_Digest = Annotated[str, Predicate(is_sha_256)]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The properties of a stored image.

    Sizes in pixels are after orientation; `digest` and `received_digest` are SHA-256 in hex, of the
    image as served and as it was uploaded; `stored_bytes` is its size in the log, packed by
    `content_encoding` unless that is empty. It is `kept` if the file was not encoded again;
    `quality` is SSIMULACRA2.
    """

    content_type: Annotated[str, Predicate(is_picture)]
    content_length: _Bytes
    digest: _Digest
    width: _Count
    height: _Count
    frame_count: _Count
    filename: Annotated[str, Predicate(is_printable)] | None
    profile: str
    codec: str
    kept: bool
    received_bytes: _Bytes
    received_digest: _Digest
    stored_bytes: _Bytes
    content_encoding: str = ""
    metadata_removed: tuple[str, ...] = ()
    quality: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the properties by name; `dataclasses.asdict` copies deeply, at 60 µs."""
        return {name: getattr(self, name) for name in self.__slots__}
