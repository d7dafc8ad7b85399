"""A data key, and its form in the log: wrapped by a key-encryption key, which it names.

Hides the text of a wrapped key, `KEK:BASE64`. A key-encryption key (KEK) of the keyring is its
name, one of Vault's transit engine `vault:NAME:vVERSION`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

DATA_KEY_BYTES = 32
# Some 60 characters by the keyring, 100 by Vault.
MAX_CHARACTERS = 512
_WRAPPED = re.compile(
    r"([A-Za-z0-9_-]{1,32}|vault:[A-Za-z0-9_.-]{1,64}:v[1-9][0-9]{0,8})"
    r":((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)"
)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as the log holds it.

    Args:
        kek: The id of the key that wrapped it.
        text: The wrapped key, in Base64.
    """

    kek: str
    text: str

    def __str__(self) -> str:
        return f"{self.kek}:{self.text}"


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one image: never used for another, so that no nonce is used twice."""

    plain: bytes = field(repr=False)
    wrapped: WrappedKey


def parse(text: str) -> WrappedKey:
    """Read a wrapped key.

    Raises:
        ValueError: The text is none.
    """
    found = _WRAPPED.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if not (found and found[2]):
        raise ValueError("no wrapped key")
    return WrappedKey(found[1], found[2])
