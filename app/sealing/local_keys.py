"""Key-encryption keys of a keyring, in the settings or a file.

Hides how a data key is wrapped: by AES-KW (RFC 3394). It needs no nonce, of which random ones could
meet after some billions of images under one key (NIST SP 800-38D, section 8.3), and it says whether
a key is the right one. A wrapped key need not be bound to its image, as the image's seal is.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from app.errors import KeyUnavailableError
from app.sealing.wrapped_key import DATA_KEY_BYTES, DataKey, WrappedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# One takes 3 µs.
_ON_LOOP = 100


class LocalKeys:
    """A `KeyService` whose keys are in memory.

    Args:
        keys: Returns the keys by name, as they are now, the one that encrypts first.
    """

    def __init__(self, keys: Callable[[], Mapping[str, bytes]]) -> None:
        self._keys = keys

    async def resolve(self, alias: str) -> str:
        """Return the name of a key: the first one without an alias, or else the alias itself."""
        keys = self._keys()
        kek = alias or next(iter(keys))
        if kek not in keys:
            raise _missing(kek)
        return kek

    async def generate(self, kek: str) -> DataKey:
        """Return a new data key, wrapped by a key."""
        plain = secrets.token_bytes(DATA_KEY_BYTES)
        [wrapped] = await self.wrap([plain], kek)
        return DataKey(plain, wrapped)

    async def require(self, kek: str) -> None:
        """Check that a key is here."""
        if kek not in self._keys():
            raise _missing(kek)

    async def wrap(self, plain: Sequence[bytes], kek: str) -> list[WrappedKey]:
        """Return data keys, wrapped by a key."""
        if (wrapping := self._keys().get(kek)) is None:
            raise _missing(kek)
        texts = [base64.b64encode(aes_key_wrap(wrapping, each)).decode() for each in plain]
        return [WrappedKey(kek, each) for each in texts]

    async def rewrap(
        self, wrapped: Sequence[WrappedKey], kek: str
    ) -> list[WrappedKey | KeyUnavailableError]:
        """Return data keys, wrapped by a key, or why they cannot be had."""
        made: list[WrappedKey | KeyUnavailableError] = []
        for before, plain in zip(wrapped, await self.unwrap(wrapped), strict=True):
            if isinstance(plain, KeyUnavailableError):
                made.append(plain)
            else:
                made += [before] if before.kek == kek else await self.wrap([plain], kek)
        return made

    async def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[bytes | KeyUnavailableError]:
        """Return data keys, or why they cannot be had."""
        keys = self._keys()
        if len(wrapped) > _ON_LOOP:
            return await asyncio.to_thread(lambda: [_unwrapped(keys, each) for each in wrapped])
        return [_unwrapped(keys, each) for each in wrapped]

    async def stop(self) -> None:
        """Do nothing: the keys leave with the process."""


def _unwrapped(keys: Mapping[str, bytes], wrapped: WrappedKey) -> bytes | KeyUnavailableError:
    if (wrapping := keys.get(wrapped.kek)) is None:
        return _missing(wrapped.kek)
    try:
        plain = aes_key_unwrap(wrapping, base64.b64decode(wrapped.text, validate=True))
    except (InvalidUnwrap, ValueError):
        plain = b""
    if len(plain) != DATA_KEY_BYTES:
        return KeyUnavailableError.another(
            f"The sealing key {wrapped.kek} is not the one that wrapped the image's key."
        )
    return plain


def _missing(kek: str) -> KeyUnavailableError:
    return KeyUnavailableError.another(f"The sealing key {kek} is not among those of this gateway.")
