"""The protocol of what holds key-encryption keys: a keyring here, or a service of its own.

Its shape is that of a KMS, as Kroxylicious has it (`io.kroxylicious.kms.service.Kms`): an alias
names a key-encryption key (KEK), which never leaves the service, and data keys are generated and
unwrapped under it. A wrapped key names its KEK, so that any number may be in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.errors import KeyUnavailableError
    from app.sealing.wrapped_key import DataKey, WrappedKey


class KeyService(Protocol):
    """A holder of key-encryption keys."""

    async def resolve(self, alias: str) -> str:
        """Return the id of the KEK that an alias stands for now.

        Raises:
            KeyUnavailableError: There is none, or the service does not say.
        """
        ...

    async def generate(self, kek: str) -> DataKey:
        """Return a new data key, wrapped by a KEK.

        Raises:
            KeyUnavailableError: There is no such KEK, or the service does not answer.
        """
        ...

    async def require(self, kek: str) -> None:
        """Check that a data key could be generated now, as far as is known.

        Raises:
            KeyUnavailableError: It could not.
        """
        ...

    async def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[bytes | KeyUnavailableError]:
        """Return data keys in their order; or, for each, why it cannot be had.

        That its KEK is not here or is another one, or that the service does not answer.
        """
        ...

    async def rewrap(
        self, wrapped: Sequence[WrappedKey], kek: str
    ) -> list[WrappedKey | KeyUnavailableError]:
        """Return data keys in their order, wrapped by a KEK; or, for each, why it cannot be had.

        One that it has wrapped already is returned as it is. All are of this service.
        """
        ...

    async def wrap(self, plain: Sequence[bytes], kek: str) -> list[WrappedKey]:
        """Return data keys of another service in their order, wrapped by a KEK.

        Raises:
            KeyUnavailableError: There is no such KEK, or the service does not answer.
        """
        ...

    async def stop(self) -> None:
        """Release what it holds."""
        ...
