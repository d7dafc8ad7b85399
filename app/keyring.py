"""Keys that authenticate what the gateway wrote itself: each has a name, and the first one is used.

Hides their text, `NAME:BASE64`, and how fields become the text of an HMAC-SHA-256 (RFC 2104): in an
encoding that two different lists of fields never share.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
# As long as the output of SHA-256: a shorter key weakens HMAC (RFC 2104, section 3).
MIN_KEY_BYTES = 32
# The length of a field that is not there, which is none of one that is.
_ABSENT = (2**32 - 1).to_bytes(4, "big")


def parse(given: str) -> dict[str, bytes]:
    """Return keys by their names, in order; an error never quotes one.

    Args:
        given: `NAME:BASE64`, separated by commas or ends of lines.

    Raises:
        ValueError: It is no such list.
    """
    keys: dict[str, bytes] = {}
    for entry in given.strip().replace("\n", ",").split(","):
        name, _, text = entry.strip().partition(":")
        if not _NAME.fullmatch(name) or name in keys:
            raise ValueError(
                "should be NAME:BASE64, separated by commas, with a name of its own for each key:"
                " 1 to 32 letters, digits, - or _"
            )
        keys[name] = _key(text)
    return keys


def text_of(name: str, key: bytes) -> str:
    """Return a key as `parse` reads it."""
    return f"{name}:{base64.b64encode(key).decode()}"


def mac(key: bytes, fields: Iterable[bytes | None]) -> bytes:
    """Return the HMAC-SHA-256 of a list of fields."""
    return hmac.digest(key, b"".join(map(delimited, fields)), "sha256")


def delimited(field: bytes | None) -> bytes:
    """Return a field with its length in front; None is a field that is not there."""
    return _ABSENT if field is None else len(field).to_bytes(4, "big") + field


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(
            f"each key should be Base64 of {MIN_KEY_BYTES} bytes or more; make one with: openssl"
            f" rand -base64 {MIN_KEY_BYTES}"
        )
    return key
