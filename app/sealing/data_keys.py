"""The keys of images: new ones where images are encrypted, and those of images that are sealed.

Hides where their key-encryption keys are, in a keyring, in Vault or some in each, and counts keys
that cannot be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import KeyUnavailableError
from app.sealing.vault import PREFIX
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.sealing.key_service import KeyService
    from app.sealing.wrapped_key import DataKey, WrappedKey


class DataKeys:
    """The keys of images.

    Args:
        local: The keys of a keyring.
        vault: Those of Vault, which encrypt if they are there.
        alias: The name of the key that encrypts; empty for the service's own choice.

    Attributes:
        seals: Whether new images are encrypted.
    """

    def __init__(
        self, local: KeyService | None = None, vault: KeyService | None = None, alias: str = ""
    ) -> None:
        self._local = local
        self._vault = vault
        self._sealing = vault or local
        self._alias = alias
        self.seals = self._sealing is not None

    async def new(self) -> DataKey | None:
        """Return the key of a new image; None where images are stored in clear.

        Raises:
            KeyUnavailableError: There is none now.
        """
        if self._sealing is None:
            return None
        try:
            return await self._sealing.generate(await self._sealing.resolve(self._alias))
        except KeyUnavailableError:
            metrics.KEYS_UNAVAILABLE.inc()
            raise

    async def require_new(self) -> None:
        """Check that there would be a key for a new image, before work is put into it.

        Raises:
            KeyUnavailableError: There is none now.
        """
        if self._sealing is None:
            return
        try:
            await self._sealing.require(await self._sealing.resolve(self._alias))
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
            raise key.again() from key
        return key

    async def unwrap_all(
        self, wrapped: Sequence[WrappedKey]
    ) -> Sequence[bytes | KeyUnavailableError]:
        """Return the keys of sealed images in their order; or, for each, why it cannot be had."""
        found: dict[WrappedKey, bytes | KeyUnavailableError] = {}
        for service, is_vaults in ((self._local, False), (self._vault, True)):
            its = [each for each in wrapped if each.kek.startswith(PREFIX) is is_vaults]
            if service is not None:
                found |= zip(its, await service.unwrap(its), strict=True)
            else:
                found |= {each: _missing(each) for each in its}
        metrics.KEYS_UNAVAILABLE.inc(sum(not isinstance(key, bytes) for key in found.values()))
        return [found[each] for each in wrapped]

    async def rewrap(
        self, wrapped: Sequence[WrappedKey]
    ) -> Sequence[WrappedKey | KeyUnavailableError]:
        """Return keys in their order, wrapped by the key that encrypts now; or why they cannot be.

        One that is wrapped by it is returned as it is.

        Raises:
            KeyUnavailableError: There is no key to wrap them by.
        """
        if self._sealing is None:
            raise KeyUnavailableError("There are no sealing keys here.")
        kek = await self._sealing.resolve(self._alias)
        is_vaults = self._sealing is self._vault
        own = [each for each in wrapped if each.kek.startswith(PREFIX) is is_vaults]
        found: dict[WrappedKey, WrappedKey | KeyUnavailableError] = dict(
            zip(own, await self._sealing.rewrap(own, kek) if own else [], strict=True)
        )
        others = [each for each in wrapped if each not in found]
        plain: dict[WrappedKey, bytes] = {}
        for each, key in zip(others, await self.unwrap_all(others), strict=True):
            if isinstance(key, bytes):
                plain[each] = key
            else:
                found[each] = key
        found |= zip(plain, await self._sealing.wrap([*plain.values()], kek), strict=True)
        return [found[each] for each in wrapped]

    async def stop(self) -> None:
        """Release what the key services hold."""
        for service in (self._local, self._vault):
            if service is not None:
                await service.stop()


def _missing(wrapped: WrappedKey) -> KeyUnavailableError:
    return KeyUnavailableError.another(
        f"The image is encrypted by {wrapped.kek}, and there are no sealing keys of its kind here."
    )


NO_KEYS = DataKeys()
