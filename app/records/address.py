"""An image's id is its address in the log.

Hides the layout of an id: 32 characters of lower-case, unpadded RFC 4648 (section 6) Base32 over
20 bytes, big-endian: `partition u16 | offset u48 | cookie 12 bytes`. The cookie is random. It
makes ids unguessable, and it is the head record's key: an id whose cookie is not there, because
the topic was replaced or an election lost a record, names no image instead of the wrong one.
(Haystack, OSDI 2010, section 3.4, does this on disk volumes.)
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache

from app.errors import ImageNotFoundError
from app.log import Position

COOKIE_BYTES = 12
PATTERN = "[a-z2-7]{32}"
_PATTERN = re.compile(PATTERN)
_PARTITION_BYTES, _OFFSET_BYTES = 2, 6
# Some 400 bytes each.
_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True)
class Address:
    """The position of an image's head record, and the cookie that its key must show."""

    position: Position
    cookie: bytes

    def __str__(self) -> str:
        partition = self.position.partition.to_bytes(_PARTITION_BYTES, "big")
        offset = self.position.offset.to_bytes(_OFFSET_BYTES, "big")
        return base64.b32encode(partition + offset + self.cookie).decode().lower()

    def opens(self, key: bytes | None) -> bool:
        """Compare the cookie with a record's key, in constant time."""
        return hmac.compare_digest(self.cookie.hex().encode(), key or b"")


# Decoding one takes Python 4 us; images are often asked for again and again.
@lru_cache(_REMEMBERED)
def parse(image_id: str) -> Address:
    """Decode an id.

    Raises:
        ImageNotFoundError: It is malformed, which looks no different from an unknown image.
    """
    if not _PATTERN.fullmatch(image_id):
        raise ImageNotFoundError
    raw = base64.b32decode(image_id.upper())
    offset_at, cookie_at = _PARTITION_BYTES, _PARTITION_BYTES + _OFFSET_BYTES
    partition = int.from_bytes(raw[:offset_at], "big")
    offset = int.from_bytes(raw[offset_at:cookie_at], "big")
    return Address(Position(partition, offset), raw[cookie_at:])


def new_cookie() -> bytes:
    """Return twelve random bytes."""
    return secrets.token_bytes(COOKIE_BYTES)
