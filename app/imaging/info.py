"""`ImageInfo`: the properties of a stored image, collected once.

Imaging fills it. The record's headers, the event, the catalog's row and the JSON of the API are
views of it, so that a property is added here and shows up in all of them. What is read from the log
is read into it too, and pydantic then checks the constraints: other programs may have written it.
They come from annotated-types: importing pydantic would cost each codec worker 7 MB.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Gt, Le, MaxLen, Predicate

from app.imaging.formats import ImageFormat
from app.imaging.names import is_filename, is_label, is_owner, is_source

# What every reader of JSON represents exactly (RFC 7493, section 2.2).
_MAX_BYTES = 2**53 - 1
# The longest side and the most frames of any format (W3C PNG 3, 7.1 and 11.3.6.1).
_MAX_COUNT = 2**31 - 1
# The end of the year 9999, the last that a time in JSON can name, in seconds since 1970.
MAX_EXPIRES_AT = 253_402_300_799
# There are some fifteen kinds of metadata.
_MAX_KINDS = 64
_CONTENT_TYPES = frozenset(each.content_type for each in ImageFormat)
_SHA_256 = re.compile(r"[0-9a-f]{64}")


class Visibility(StrEnum):
    """Who may read an image, beside its owner and administrators."""

    PUBLIC = "public"
    AUTHENTICATED = "authenticated"
    OWNER = "owner"


def is_content_type(text: str) -> bool:
    """Tell whether this is the content type of a format: nothing else is ever served."""
    return text in _CONTENT_TYPES


def is_encoding(text: str) -> bool:
    """Tell whether this can name a packing; it is empty for an image that is not packed."""
    return not text or is_label(text)


def is_owner_or_empty(text: str) -> bool:
    """Tell whether this can be an owner; it is empty for an image that has none."""
    return not text or is_owner(text)


def is_source_or_empty(text: str) -> bool:
    """Tell whether this can be a source; it is empty for an image that has none."""
    return not text or is_source(text)


def is_option(text: str) -> bool:
    """Tell whether this can be an option; it is empty for an image of an earlier release."""
    return not text or is_label(text)


def is_sha_256(digest: str) -> bool:
    """Tell whether this is a SHA-256 in hex."""
    return _SHA_256.fullmatch(digest) is not None


_Bytes = Annotated[int, Gt(0), Le(_MAX_BYTES)]
_Count = Annotated[int, Gt(0), Le(_MAX_COUNT)]
_Label = Annotated[str, Predicate(is_label)]
_Digest = Annotated[str, Predicate(is_sha_256)]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The properties of a stored image.

    Sizes in pixels are after orientation; `digest` and `received_digest` are SHA-256 in hex, of the
    image as served and as it was uploaded; `stored_bytes` is its size in the log, packed by
    `content_encoding` unless that is empty. It is `kept` if the file was not encoded again;
    `quality` is SSIMULACRA2. `owner` is the principal that uploaded it, empty without
    authentication; without a `visibility` of its own, the server's rule says who may read it. From
    `expires_at` on, in seconds since 1970, it is gone. `source` is the camera or device that it is
    from, as its uploader says; `metadata` and `expires_in` are options of the upload.
    """

    content_type: Annotated[str, Predicate(is_content_type)]
    content_length: _Bytes
    digest: _Digest
    width: _Count
    height: _Count
    frame_count: _Count
    filename: Annotated[str, Predicate(is_filename)] | None
    profile: _Label
    codec: _Label
    kept: bool
    received_bytes: _Bytes
    received_digest: _Digest
    stored_bytes: _Bytes
    content_encoding: Annotated[str, Predicate(is_encoding)] = ""
    metadata_removed: Annotated[tuple[_Label, ...], MaxLen(_MAX_KINDS)] = ()
    quality: Annotated[float, Predicate(math.isfinite)] | None = None
    owner: Annotated[str, Predicate(is_owner_or_empty)] = ""
    visibility: Visibility | None = None
    expires_at: Annotated[int, Gt(0), Le(MAX_EXPIRES_AT)] | None = None
    source: Annotated[str, Predicate(is_source_or_empty)] = ""
    metadata: Annotated[str, Predicate(is_option)] = ""
    expires_in: Annotated[int, Gt(0), Le(MAX_EXPIRES_AT)] | None = None

    def is_expired(self, now: float) -> bool:
        """Tell whether it is gone by a clock, in seconds since 1970."""
        return self.expires_at is not None and self.expires_at <= now

    def as_dict(self) -> dict[str, Any]:
        """Return the properties by name; `dataclasses.asdict` copies deeply, at 60 µs."""
        return {name: getattr(self, name) for name in self.__slots__}
