"""`ImageInfo`: the properties of a stored image, collected once.

Imaging fills it. The record's headers, the event, the catalog's row and the JSON of the API are
views of it, so that a property is added here and shows up in all of them. Its rules are pydantic's,
as records of other programs are read into it too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, NonNegativeInt, PositiveInt, StringConstraints


def _check_picture(content_type: str) -> str:
    # Writers to the topics could otherwise have a browser run a script; SVG holds scripts.
    if not _PICTURE.fullmatch(content_type):
        raise ValueError("not a picture")
    return content_type


def _check_printable(name: str) -> str:
    # It goes into a header.
    if _UNPRINTABLE.search(name):
        raise ValueError("not printable")
    return name


# Control characters and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PICTURE = re.compile(r"image/(?!svg)[a-z0-9.+-]{1,60}")
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The properties of a stored image.

    Sizes in pixels are after orientation; `digest` and `received_digest` are SHA-256 in hex, of the
    image as served and as it was uploaded; `stored_bytes` is its size in the log, packed by
    `content_encoding` unless that is empty. It is `kept` if the upload was not
    encoded again. `quality` is SSIMULACRA2.
    """

    content_type: Annotated[str, AfterValidator(_check_picture)]
    content_length: NonNegativeInt
    digest: _Digest
    width: PositiveInt
    height: PositiveInt
    frame_count: PositiveInt
    filename: Annotated[str, AfterValidator(_check_printable)] | None
    profile: str
    codec: str
    kept: bool
    received_bytes: NonNegativeInt
    received_digest: _Digest
    stored_bytes: NonNegativeInt
    content_encoding: str = ""
    metadata_removed: tuple[str, ...] = ()
    quality: float | None = None
