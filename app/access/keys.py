"""The API keys of a running gateway, as their file says now.

Hides that the file is read again when it changes. One that cannot be read leaves the keys as they
were: a mistake of an operator must neither let anyone in nor shut everyone out.
"""

from __future__ import annotations

import hmac
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from app.access import api_key, key_file
from app.access.principal import Principal
from app.errors import ConfigurationError, InvalidCredentialError
from app.file_stamp import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.access.key_file import StoredKey
    from app.access.scopes import Scope

logger = structlog.get_logger(__name__)

# So soon a key that was revoked stops working.
_LOOK_SECONDS = 1.0
# What the name of a key's principal begins with.
NAME_PREFIX = "key:"
# Compared with where there is no key, so that an unknown id takes as long as a wrong secret.
_NO_DIGEST = "0" * 64


class Keys:
    """The keys in the file at `path`.

    Args:
        path: The file; it may appear later.
        clock: Seconds that only grow.

    Raises:
        ConfigurationError: The file is there, and is none of keys.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = stamp_of(path)
        self._keys = _by_id(path)
        # Whether there ever was a file: without it, a gateway that had keys stays closed.
        self._existed = self._stamp is not None
        self._looked = clock()
        self._complained = False

    @property
    def exist(self) -> bool:
        """Whether there is a file of keys, or was one."""
        self._look()
        return self._existed

    def principal(self, text: str) -> Principal:
        """Return whose key this is.

        Raises:
            InvalidCredentialError: It is no key, or an unknown, expired or revoked one.
        """
        self._look()
        found = api_key.parse(text)
        if found is None:
            raise InvalidCredentialError("This is no API key.")
        key_id, secret = found
        key = self._keys.get(key_id)
        expected = key.sha256 if key else _NO_DIGEST
        if not hmac.compare_digest(api_key.digest(secret), expected) or key is None:
            raise InvalidCredentialError("The API key is unknown.")
        state = key.state(datetime.now(UTC))
        if state != "valid":
            raise InvalidCredentialError(f"The API key {key_id} is {state}.")
        return Principal(f"{NAME_PREFIX}{key_id}", key.scopes)

    def scopes_of(self, key_id: str) -> frozenset[Scope]:
        """Return the rights of the key of this id; none if it is unknown, expired or revoked."""
        self._look()
        key = self._keys.get(key_id)
        valid = key is not None and key.state(datetime.now(UTC)) == "valid"
        return key.scopes if key and valid else frozenset()

    def _look(self) -> None:
        """Read the file again if it has changed."""
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        stamp = stamp_of(self._path)
        if stamp == self._stamp:
            return
        self._existed = self._existed or stamp is not None
        try:
            self._keys = _by_id(self._path)
        except ConfigurationError as error:
            # Looked at again until it can be read: the stamp stays when the file's mode changes, or
            # when there are descriptors again.
            if not self._complained:
                self._complained = True
                logger.error("keys_unreadable", reason=error.detail)  # noqa: TRY400 - not our place
        else:
            self._stamp, self._complained = stamp, False
            logger.info("keys_read", count=len(self._keys))


def _by_id(path: Path) -> dict[str, StoredKey]:
    return {key.id: key for key in key_file.read(path)}
