"""The keys of images that are read, as their records state them.

Hides that a key may be in the record itself or in `image-keys`, and that one from there may be
erased, which no key-encryption key brings back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import ImageGoneError, KeyUnavailableError
from app.records.address import Address
from app.records.key_reader import KeyReader, Wrapped
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.sealing.wrapped_key import WrappedKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.log import ReadableLog
    from app.records.stated_key import StatedKey


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key that was looked for.

    Args:
        plain: The data key, or why it cannot be had.
        kek: The id of the key-encryption key that wrapped it; empty while that is not known.
    """

    plain: bytes | KeyUnavailableError | ImageGoneError = field(repr=False)
    kek: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether it was erased: no later attempt finds it."""
        return isinstance(self.plain, ImageGoneError)


class ImageKeys:
    """Finds the keys of images in `log`, and has `keys` unwrap them."""

    def __init__(self, log: ReadableLog, keys: DataKeys = NO_KEYS) -> None:
        self._reader = KeyReader(log)
        self._keys = keys

    async def wrapped(self, stated: Sequence[StatedKey]) -> list[Wrapped]:
        """Return keys in their order, wrapped; or, for each, why it cannot be had."""
        at = [each for each in stated if isinstance(each, Address)]
        read = await self._reader.read(at) if at else {}
        return [read[each] if isinstance(each, Address) else each for each in stated]

    async def find(self, stated: Sequence[StatedKey]) -> list[FoundKey]:
        """Return keys in their order; or, for each, why it cannot be had."""
        wrapped = await self.wrapped(stated)
        there = [each for each in wrapped if isinstance(each, WrappedKey)]
        unwrapped = iter(await self._keys.unwrap_all(there))
        return [
            FoundKey(next(unwrapped), each.kek) if isinstance(each, WrappedKey) else FoundKey(each)
            for each in wrapped
        ]

    async def unwrap(self, stated: StatedKey) -> bytes:
        """Return the key of a sealed image.

        Raises:
            KeyUnavailableError: It cannot be had now.
            ImageGoneError: It was erased.
        """
        [wrapped] = await self.wrapped([stated])
        if isinstance(wrapped, WrappedKey):
            return await self._keys.unwrap(wrapped)
        if isinstance(wrapped, ImageGoneError):
            raise ImageGoneError(wrapped.detail)
        raise wrapped.again()
