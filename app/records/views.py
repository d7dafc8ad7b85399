"""The headers of a head that hold one property each, for readers that know nothing of imagegate.

Hides their text: decimal numbers, and digests as in RFC 9530, section 2.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.imaging.info import ImageInfo

_DIGEST_FIELD = re.compile(rb"sha-256=:([A-Za-z0-9+/]{43}=):")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,15}")


def digest_field(digest: str) -> str:
    """Return a SHA-256 in hex as a field value of RFC 9530."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"


def number(field: bytes) -> int:
    """Return a decimal number.

    Raises:
        ValueError: It is none.
    """
    if not _NUMBER.fullmatch(field):
        raise ValueError("no decimal number")
    return int(field)


def _digest_hex(field: bytes) -> str:
    if not (found := _DIGEST_FIELD.fullmatch(field)):
        raise ValueError("content-digest: not a SHA-256")
    return base64.b64decode(found[1]).hex()


class View(NamedTuple):
    """A header that holds one property, for readers that know nothing of imagegate."""

    field: str
    header: str
    render: Callable[[Any], bytes]
    parse: Callable[[bytes], object]

    def of(self, info: ImageInfo) -> tuple[str, bytes]:
        """Return the header of an image."""
        return self.header, self.render(getattr(info, self.field))


CONTENT_TYPE = View("content_type", "content-type", str.encode, bytes.decode)
CONTENT_LENGTH = View("content_length", "content-length", lambda length: b"%d" % length, number)
DIGEST = View("digest", "content-digest", lambda digest: digest_field(digest).encode(), _digest_hex)
CONTENT_ENCODING = View("content_encoding", "content-encoding", str.encode, bytes.decode)
OWNER = View("owner", "imagegate-owner", str.encode, bytes.decode)
VISIBILITY = View(
    "visibility", "imagegate-visibility", str.encode, lambda field: field.decode() or None
)
EXPIRES_AT = View(
    "expires_at",
    "imagegate-expires-at",
    lambda seconds: b"%d" % seconds,
    lambda field: number(field) if field else None,
)
SOURCE = View("source", "imagegate-source", str.encode, bytes.decode)
# Those that not every image has.
OPTIONAL = (OWNER, VISIBILITY, EXPIRES_AT, SOURCE)
VIEWS = (CONTENT_TYPE, CONTENT_LENGTH, DIGEST, CONTENT_ENCODING, *OPTIONAL)
# The properties that are in no other header.
VIEWED = {view.field for view in VIEWS}
