"""Keys that sign or encrypt what the gateway writes: each has a name, and the first one is used.

Hides their text, `NAME:BASE64`, in a setting or a file, and how fields become one text: in an
encoding that two different lists of fields never share. So they are signed by an HMAC-SHA-256 (RFC
2104), or bound to what is encrypted.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING

from app import given_file
from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
# As long as the output of SHA-256: a shorter key weakens HMAC (RFC 2104, section 3).
MIN_KEY_BYTES = 32
# A file of some hundred keys.
_MAX_FILE_BYTES = 16_384
# The length of a field that is not there, which is none of one that is.
_ABSENT = (2**32 - 1).to_bytes(4, "big")


def parse(given: str, *, exactly: int | None = None) -> dict[str, bytes]:
    """Return keys by their names, in order; an error never quotes one.

    Args:
        given: `NAME:BASE64`, separated by commas or ends of lines.
        exactly: The length of each key in bytes; without it, `MIN_KEY_BYTES` or more.

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
        keys[name] = _key(text, exactly)
    return keys


def read(path: Path, what: str, *, exactly: int | None = None) -> dict[str, bytes]:
    """Return the keys in a file; see `parse`. Blocks.

    Args:
        path: The file.
        what: What the keys are of, for its errors: "keys of links".
        exactly: As for `parse`.

    Raises:
        ConfigurationError: It is not there, cannot be read, or is none of keys.
    """
    try:
        content = given_file.read(path, _MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file of {what}: {path}.") from error
    except OSError as error:
        raise ConfigurationError(
            f"The file of {what} cannot be read: {path}: {error.strerror}."
        ) from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigurationError(f"The file of {what} has over {_MAX_FILE_BYTES:,} bytes: {path}.")
    try:
        return parse(content.decode("ascii", "replace"), exactly=exactly)
    except ValueError as error:
        raise ConfigurationError(f"This is no file of {what}: {path}: it {error}.") from error


def text_of(name: str, key: bytes) -> str:
    """Return a key as `parse` reads it."""
    return f"{name}:{base64.b64encode(key).decode()}"


def mac(key: bytes, fields: Iterable[bytes | None]) -> bytes:
    """Return the HMAC-SHA-256 of a list of fields."""
    return hmac.digest(key, b"".join(map(delimited, fields)), "sha256")


def delimited(field: bytes | None) -> bytes:
    """Return a field with its length in front; None is a field that is not there."""
    return _ABSENT if field is None else len(field).to_bytes(4, "big") + field


def _key(text: str, exactly: int | None) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) < MIN_KEY_BYTES or len(key) != (exactly or len(key)):
        raise ValueError(
            f"each key should be Base64 of {exactly or MIN_KEY_BYTES} bytes"
            f"{'' if exactly else ' or more'}; make one with: openssl rand -base64"
            f" {exactly or MIN_KEY_BYTES}"
        )
    return key
