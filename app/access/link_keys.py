"""The keys that sign links, as their file says now.

Hides that the file is made at the first link where none is configured, and read again when it
changes. One that cannot be read leaves the keys as they were.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

import structlog

from app import keyring
from app.access import secret_file
from app.errors import ConfigurationError, InternalError
from app.file_stamp import stamp_of
from app.section import variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

logger = structlog.get_logger(__name__)

_ADVICE = f"gateways on one Kafka need the same file: {variable('access', 'link_keys_file')}"
# So soon a key that was removed stops working.
_LOOK_SECONDS = 1.0
# Some hundred keys.
_MAX_BYTES = 16_384


class LinkKeys:
    """The keys in the file at `path`, of which the first signs and each verifies.

    Args:
        path: The file.
        required: Whether it has to be there: an operator named it.
        clock: Seconds that only grow.

    Raises:
        ConfigurationError: The file cannot be read, or is none of keys.
    """

    def __init__(
        self, path: Path, *, required: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._stamp = stamp_of(path)
        self._keys = _read(path) if required or self._stamp is not None else {}
        self._looked = clock()
        self._making = asyncio.Lock()

    @property
    def all(self) -> Mapping[str, bytes]:
        """The keys by name, the one that signs first; empty until the first link is made."""
        now = self._clock()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._keys

    async def signing(self) -> bytes:
        """Return the key that signs, made now if there is none.

        Raises:
            InternalError: The file was there later than the gateway, and is none of keys.
        """
        async with self._making:
            if not self.all:
                if self._stamp is not None:
                    raise InternalError("The keys of links cannot be read; the log says why.")
                text = keyring.text_of("k1", secrets.token_bytes(keyring.MIN_KEY_BYTES))
                await asyncio.to_thread(secret_file.write, self._path, text)
                logger.info("link_keys_made", file=str(self._path), advice=_ADVICE)
                self._look()
        return next(iter(self._keys.values()))

    def _look(self) -> None:
        """Read the file again if it has changed."""
        stamp = stamp_of(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _read(self._path)
        except ConfigurationError as error:
            logger.error("link_keys_unreadable", reason=error.detail)  # noqa: TRY400 - not ours
        else:
            logger.info("link_keys_read", keys=list(self._keys))


def _read(path: Path) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"The keys of links cannot be read: {path}: {error.strerror}."
        ) from error
    try:
        return keyring.parse(content.decode("ascii", "replace"))
    except ValueError as error:
        raise ConfigurationError(
            f"This is no file of keys of links: {path}: it {error}."
        ) from error
