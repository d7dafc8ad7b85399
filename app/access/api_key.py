"""The text of an API key: `ig_`, the id of the key, `_`, and a secret of 256 random bits.

Hides Base62, which needs no quoting in a shell, a URL or a header, and is selected by a double
click. The prefix lets scanners of source code find a key that was published by mistake.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_BYTES, _ID_CHARACTERS = 8, 11
_SECRET_BYTES, _SECRET_CHARACTERS = 32, 43
_KEY = re.compile(
    rf"ig_([0-9A-Za-z]{{{_ID_CHARACTERS}}})_([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})", re.ASCII
)
PREFIX = "ig_"
ID = re.compile(rf"[0-9A-Za-z]{{{_ID_CHARACTERS}}}", re.ASCII)


def new() -> tuple[str, str]:
    """Return the id and the secret of a new key."""
    return _random(_ID_BYTES, _ID_CHARACTERS), _random(_SECRET_BYTES, _SECRET_CHARACTERS)


def text_of(key_id: str, secret: str) -> str:
    """Return the key as a client sends it."""
    return f"{PREFIX}{key_id}_{secret}"


def parse(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key; None if the text is no key."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hexadecimal.

    As the secret is random, not chosen, nothing slower is needed against guessing.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def _random(count: int, characters: int) -> str:
    number, text = int.from_bytes(secrets.token_bytes(count), "big"), ""
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        text += _ALPHABET[digit]
    return text
