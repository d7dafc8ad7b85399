"""The keys that sign links, as their file says now.

Hides that the file is made at the first link where none is configured, and read again when it
changes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

import structlog

from app import keyring
from app.access import secret_file
from app.errors import InternalError
from app.read_again import ReadAgain
from app.section import variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

logger = structlog.get_logger(__name__)

_ADVICE = f"gateways on one Kafka need the same file: {variable('access', 'link_keys_file')}"


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
        self._required = required
        self._file = ReadAgain([path], self._read, clock=clock)
        self._making = asyncio.Lock()

    @property
    def all(self) -> Mapping[str, bytes]:
        """The keys by name, the one that signs first; empty until the first link is made."""
        return self._file.recent()

    async def signing(self) -> bytes:
        """Return the key that signs, made now if there is none.

        Raises:
            InternalError: The file was there later than the gateway, and is none of keys.
        """
        async with self._making:
            keys = self.all
            if not keys:
                if self._path.exists():
                    raise InternalError("The keys of links cannot be read; the log says why.")
                text = keyring.text_of("k1", secrets.token_bytes(keyring.MIN_KEY_BYTES))
                await asyncio.to_thread(secret_file.write, self._path, text)
                logger.info("link_keys_made", file=str(self._path), advice=_ADVICE)
                keys = self._file.current()
        return next(iter(keys.values()))

    def _read(self) -> dict[str, bytes]:
        if not self._required and not self._path.exists():
            return {}
        return keyring.read(self._path, "keys of links")
