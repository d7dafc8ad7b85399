"""The seal of one image: AES-256-GCM (NIST SP 800-38D) under a key that no other image has.

Hides the nonces, of which none is used twice with one key. That of a part of the image is its
number, and each part is sealed once: a record that is sent again is the same record. That of its
fields begins with a one, where a part's has a zero, and goes on with 88 random bits: fields may be
sealed again by other processes, which know of no counter.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ALGORITHM = "A256GCM"
TAG_BYTES = 16
NONCE_BYTES = 12
_FIELDS = b"\x01"


class BrokenSealError(Exception):
    """The bytes are not those that were sealed, or belong elsewhere."""


def seal_part(key: bytes, number: int, part: memoryview, bound: bytes) -> bytes:
    """Return part `number` of an image, sealed: as long as it is, and the tag.

    Args:
        key: The data key of the image.
        number: From 0; each is sealed once.
        part: The part.
        bound: The associated data, which is to be given again to open it.
    """
    return AESGCM(key).encrypt(_nonce(number), part, bound)


def open_part(key: bytes, number: int, sealed: memoryview | bytes, bound: bytes) -> bytes:
    """Return a part of an image.

    Raises:
        BrokenSealError: It is another one.
    """
    return _opened(key, _nonce(number), sealed, bound)


def seal_fields(key: bytes, fields: bytes, bound: bytes) -> bytes:
    """Return fields of an image, sealed: the nonce, as long as they are, and the tag."""
    nonce = _FIELDS + secrets.token_bytes(NONCE_BYTES - len(_FIELDS))
    return nonce + AESGCM(key).encrypt(nonce, fields, bound)


def open_fields(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Return fields of an image.

    Raises:
        BrokenSealError: They are others, or of another image.
    """
    if not sealed.startswith(_FIELDS) or len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise BrokenSealError
    return _opened(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")


def _opened(key: bytes, nonce: bytes, sealed: memoryview | bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag as error:
        raise BrokenSealError from error
