"""The idempotency of an upload, as the event of its image states it.

Hides what is hashed. The token is made of the client's key and of who sent it, so that nobody who
reads the log learns the key, and one client's key is another token than the same key of another.
The fingerprint tells whether an upload under the same key is the same upload: it is made of the
file, its name and the options, never of the form around them, whose boundary changes with each try.

The fingerprint of an encrypted image is keyed with the key of the image: one who has a file cannot
find out that it was uploaded by reading the log alone, and once the key is destroyed, nobody can.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.keyring import delimited

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long a token is remembered, by the log's clock: as long as a client may try again.
LIFETIME_MS = 86_400_000
_TOKEN_PURPOSE = b"imagegate-idempotency-1"
_FINGERPRINT_PURPOSE = b"imagegate-fingerprint-1"


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The token of an upload, and the fingerprint of what was uploaded under it, both in hex."""

    token: str
    fingerprint: str

    def keyed(self, key: bytes) -> Idempotency:
        """Return it with the fingerprint that the event of an image with this data key states."""
        return Idempotency(self.token, keyed(self.fingerprint, key))


@dataclass(frozen=True, slots=True)
class FormerToken:
    """The token of an image that is deleted, and when the image was stored, in Unix milliseconds.

    The time is by the log's clock. A log that erases the event of the image has it nowhere else.
    """

    token: str
    stored_at_ms: int


def token_of(principal: str, link: str, key: str, position: int | None = None) -> str:
    """Return the token of an upload.

    Args:
        principal: The name of the client; empty without authentication.
        link: The id of the upload link that it showed; empty without one.
        key: The key that it sent.
        position: The place of the file in its batch, from 0; None outside one.
    """
    place = "" if position is None else str(position)
    fields = (each.encode() for each in (principal, link, key, place))
    return _digest(_TOKEN_PURPOSE, *fields)


def fingerprint_of(data: bytes, filename: str | None, options: Iterable[tuple[str, str]]) -> str:
    """Return the fingerprint of an upload; some 10 ms for the largest, so not on the event loop."""
    given = [each.encode() for option in sorted(options) for each in option]
    name = None if filename is None else filename.encode()
    return _digest(_FINGERPRINT_PURPOSE, hashlib.sha256(data).digest(), name, *given)


def keyed(fingerprint: str, key: bytes) -> str:
    """Return the fingerprint of the upload of an encrypted image, which has this data key."""
    text = delimited(_FINGERPRINT_PURPOSE) + bytes.fromhex(fingerprint)
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def _digest(*fields: bytes | None) -> str:
    return hashlib.sha256(b"".join(map(delimited, fields))).hexdigest()
