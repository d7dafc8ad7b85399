"""The public keys of an issuer of tokens: from a URL, a file, or by OpenID Connect discovery.

Hides fetching. A set is fetched at its first use, again when it is old, and when a token names a
key that it lacks, at most every thirty seconds: a client that makes up names causes no more
requests. A set is kept where a refresh fails.

Sources: RFC 7517; OpenID Connect Discovery 1.0, sections 4 and 3.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from app import given_file
from app.errors import IssuerUnavailableError
from app.section import SAFE_URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import Key

    from app.access.settings import Issuer

logger = structlog.get_logger(__name__)

_MAX_BYTES = 262_144
_TIMEOUT_SECONDS = 5.0
# Issuers publish a new key some hours before they sign with it.
_OLD_SECONDS = 600.0
_UNKNOWN_SECONDS = 30.0
# Until the first set was fetched, every token gets 503.
_FIRST_SECONDS = 5.0
_KINDS = {"RSA", "EC", "OKP"}
_DISCOVERY = "/.well-known/openid-configuration"


class KeySet:
    """The keys of one issuer.

    Args:
        issuer: Where they are.
        client: Fetches them.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        issuer: Issuer,
        client: httpx.AsyncClient,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._client = client
        self._clock = clock
        self._keys: dict[str | None, Key] = {}
        self._tried = -float("inf")
        self._lock = asyncio.Lock()

    async def key(self, key_id: str | None) -> Key | None:
        """Return the key of this name, or the only one where a token names none; None if none fits.

        Raises:
            IssuerUnavailableError: No key of the issuer was ever fetched.
        """
        if self._is_due(_OLD_SECONDS):
            await self._refresh(_OLD_SECONDS)
        found = self._find(key_id)
        if found is None and self._is_due(_UNKNOWN_SECONDS):
            await self._refresh(_UNKNOWN_SECONDS)
            found = self._find(key_id)
        if not self._keys:
            raise IssuerUnavailableError("The keys of the token's issuer cannot be fetched now.")
        return found

    def _find(self, key_id: str | None) -> Key | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _is_due(self, seconds: float) -> bool:
        return self._clock() - self._tried >= (seconds if self._keys else _FIRST_SECONDS)

    async def _refresh(self, seconds: float) -> None:
        async with self._lock:
            # Another may have done it meanwhile.
            if not self._is_due(seconds):
                return
            try:
                self._keys = _keys(await self._read())
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, JoseError) as error:
                logger.warning(
                    "issuer_keys_unreadable", issuer=self._issuer.issuer, reason=str(error)
                )
            finally:
                self._tried = self._clock()

    async def _read(self) -> Any:
        place = self._issuer.jwks
        if not place:
            place = await self._discovered()
        if not place.startswith(("https://", "http://")):
            content = await asyncio.to_thread(given_file.read, Path(place), _MAX_BYTES)
            if len(content) > _MAX_BYTES:
                raise ValueError(f"over {_MAX_BYTES:,} bytes")
            return json.loads(content)
        return await self._fetch(place)

    async def _discovered(self) -> str:
        issuer = self._issuer.issuer
        said = await self._fetch(issuer.rstrip("/") + _DISCOVERY)
        if not isinstance(said, dict) or said.get("issuer") != issuer:
            raise ValueError("the issuer's configuration is of another issuer")
        place = said.get("jwks_uri")
        if not isinstance(place, str) or not re.fullmatch(SAFE_URL, place):
            raise ValueError(
                "the issuer's configuration names no address of its keys, or not https"
            )
        return place

    async def _fetch(self, url: str) -> Any:
        content = b""
        async with asyncio.timeout(_TIMEOUT_SECONDS), self._client.stream("GET", url) as response:
            response.raise_for_status()
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > _MAX_BYTES:
                    raise ValueError(f"over {_MAX_BYTES:,} bytes")
        return json.loads(content)


def _keys(said: Any) -> dict[str | None, Key]:
    """Return the keys that may verify, by name.

    Raises:
        ValueError: There is none.
    """
    entries = said.get("keys") if isinstance(said, dict) else None
    keys: dict[str | None, Key] = {}
    for entry in entries if isinstance(entries, list) else ():
        # Keys for other purposes, and of kinds that are not known here, are none of ours.
        if (
            isinstance(entry, dict)
            and entry.get("kty") in _KINDS
            and entry.get("use", "sig") == "sig"
        ):
            key_id = entry.get("kid")
            keys[key_id if isinstance(key_id, str) else None] = import_key(entry)
    if not keys:
        raise ValueError("there is no key to verify signatures")
    return keys
