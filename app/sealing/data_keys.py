"""The keys of images: new ones where images are encrypted, and those of images that are sealed.

Hides where their key-encryption keys are, and counts keys that cannot be had.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app import keyring
from app.errors import ConfigurationError, KeyUnavailableError
from app.read_again import ReadAgain
from app.sealing.local_keys import FIRST, LocalKeys
from app.sealing.settings import KEK_BYTES
from app.section import variable
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.sealing.key_service import KeyService
    from app.sealing.settings import SealingSettings
    from app.sealing.wrapped_key import DataKey, WrappedKey


class DataKeys:
    """The keys of images, by a key service; without one, none can be had.

    Attributes:
        seals: Whether new images are encrypted.
    """

    def __init__(self, service: KeyService | None = None, alias: str = FIRST) -> None:
        self._service = service
        self._alias = alias
        self.seals = service is not None

    async def new(self) -> DataKey | None:
        """Return the key of a new image; None where images are stored in clear.

        Raises:
            KeyUnavailableError: There is none now.
        """
        if self._service is None:
            return None
        try:
            return await self._service.generate(await self._service.resolve(self._alias))
        except KeyUnavailableError:
            metrics.KEYS_UNAVAILABLE.inc()
            raise

    async def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Return the key of a sealed image.

        Raises:
            KeyUnavailableError: It cannot be had now.
        """
        [key] = await self.unwrap_all([wrapped])
        if isinstance(key, KeyUnavailableError):
            raise key
        return key

    async def unwrap_all(
        self, wrapped: Sequence[WrappedKey]
    ) -> Sequence[bytes | KeyUnavailableError]:
        """Return the keys of sealed images in their order; or, for each, why it cannot be had."""
        if self._service is None:
            reason = "The image is encrypted, and there are no sealing keys here."
            keys: list[bytes | KeyUnavailableError] = [KeyUnavailableError(reason)] * len(wrapped)
        else:
            keys = await self._service.unwrap(wrapped)
        metrics.KEYS_UNAVAILABLE.inc(sum(isinstance(key, KeyUnavailableError) for key in keys))
        return keys

    async def stop(self) -> None:
        """Release what the key service holds."""
        if self._service is not None:
            await self._service.stop()


NO_KEYS = DataKeys()


def data_keys(settings: SealingSettings) -> DataKeys:
    """Return the keys that the settings name. Blocks.

    Raises:
        ConfigurationError: Their file cannot be used, or they are in two places.
    """
    if settings.keys is not None and settings.keys_file is not None:
        raise ConfigurationError(
            f"Give one of {variable('sealing', 'keys')} and {variable('sealing', 'keys_file')}."
        )
    if settings.keys is not None:
        keys = keyring.parse(settings.keys.get_secret_value(), exactly=KEK_BYTES)
        return DataKeys(LocalKeys(lambda: keys))
    if (file := settings.keys_file) is not None:
        what = f"sealing keys ({variable('sealing', 'keys_file')})"
        read = partial(keyring.read, file, what, exactly=KEK_BYTES)
        return DataKeys(LocalKeys(ReadAgain([file], read).recent))
    return NO_KEYS
