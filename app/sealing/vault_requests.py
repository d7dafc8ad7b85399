"""Requests to the transit engine of HashiCorp Vault.

Hides that it may be away, slow, or endless. After a failure, the next request is sent a second
later, so that nobody waits for timeouts in turn. A refusal holds up only what it refuses: uploads
that the token may not make must not keep pictures from being read.

Source: https://developer.hashicorp.com/vault/api-docs/secret/transit. Where all items of a batch
fail, the status is 400 whatever was asked for, and the items are there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import structlog

from app.errors import ConfigurationError, KeyUnavailableError
from app.sealing.turns import CrowdedError, Turns

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

logger = structlog.get_logger(__name__)

_REST_SECONDS = 1.0
_MAX_ANSWER_BYTES = 1_000_000
BAD_REQUEST = 400
# What a token may be allowed, one without the other.
GENERATE, DECRYPT, REWRAP, ENCRYPT = "datakey/plaintext", "decrypt", "rewrap", "encrypt"
_OPERATIONS = (GENERATE, DECRYPT, REWRAP, ENCRYPT)


@dataclass(slots=True)
class _Trouble:
    """Why an operation failed last, empty if it did not, and when.

    It may be one of this operation, or of Vault.
    """

    reason: str = ""
    since: float = -float("inf")
    is_its_own: bool = False


class VaultRequests:
    """Sends requests to Vault; see `VaultKeys` for the arguments."""

    def __init__(
        self,
        url: str,
        mount: str,
        token: Callable[[], str],
        clock: Callable[[], float],
        *,
        timeout_seconds: float,
        namespace: str,
        tls: ssl.SSLContext | bool,
    ) -> None:
        self._path = f"{url.rstrip('/')}/v1/{mount.strip('/')}"
        self._token = token
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            verify=tls,
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity"}
            | ({"x-vault-namespace": namespace} if namespace else {}),
        )
        self._turns = Turns()
        self._troubles = {each: _Trouble() for each in _OPERATIONS}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def trouble(self, operation: str) -> str:
        """Return why an operation failed last; empty if it did not."""
        return self._troubles[operation].reason

    async def send(self, operation: str, name: str, body: dict[str, object]) -> tuple[int, bytes]:
        """Send a request in its turn; a failure is that of the requests of the next second, too.

        Raises:
            KeyUnavailableError: Vault does not answer, or refuses.
        """
        self._require_rested(operation)
        try:
            async with self._turns.take():
                # It may have failed meanwhile.
                self._require_rested(operation)
                return await self._send(operation, name, body)
        except CrowdedError as error:
            raise away(f"it is slow, and {error}") from error

    def _require_rested(self, operation: str) -> None:
        trouble = self._troubles[operation]
        if self._clock() - trouble.since < _REST_SECONDS:
            raise away(trouble.reason)

    async def _send(self, operation: str, name: str, body: dict[str, object]) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                token = {"x-vault-token": await asyncio.to_thread(self._read_token)}
                status, content = await self._answer(f"{operation}/{name}", body, token)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self.failed(f"no answer ({type(error).__name__})") from error
        except ConfigurationError as error:
            raise self.failed("its token cannot be used") from error
        if len(content) > _MAX_ANSWER_BYTES:
            raise self.failed(f"an answer of over {_MAX_ANSWER_BYTES:,} bytes")
        has_items = operation != GENERATE and status == BAD_REQUEST
        if httpx.codes.is_client_error(status) and not has_items:
            raise self.failed(f"status {status}", operation)
        if not (httpx.codes.is_success(status) or has_items):
            raise self.failed(f"status {status}")
        self._succeeded(operation)
        return status, content

    async def _answer(
        self, path: str, body: dict[str, object], headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Return the status and the content of an answer, of which what is too long is not read."""
        content = bytearray()
        async with self._client.stream(
            "POST", f"{self._path}/{path}", json=body, headers=headers
        ) as answer:
            # As it came: none was asked for in gzip, of which a megabyte may be a thousand.
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > _MAX_ANSWER_BYTES:
                    break
        return answer.status_code, bytes(content)

    def _read_token(self) -> str:
        if not ((token := self._token()).isascii() and token.isprintable()):
            raise ConfigurationError("The token of Vault is none: no header can hold it.")
        return token

    def failed(self, reason: str, *operations: str) -> KeyUnavailableError:
        """Return the error for a failure of some operations, or of all."""
        if all(each.reason != reason for each in self._troubles.values()):
            logger.warning("vault_unavailable", reason=reason)
        for operation in operations or self._troubles:
            self._troubles[operation] = _Trouble(reason, self._clock(), bool(operations))
        return away(reason)

    def _succeeded(self, operation: str) -> None:
        was_in_trouble = any(each.reason for each in self._troubles.values())
        for each, trouble in self._troubles.items():
            # What kept Vault from answering keeps it from no other answer either.
            if each == operation or not trouble.is_its_own:
                trouble.reason = ""
        if was_in_trouble and not any(each.reason for each in self._troubles.values()):
            logger.info("vault_available")


def away(reason: str) -> KeyUnavailableError:
    """Return the error for a key that Vault does not give now."""
    error = KeyUnavailableError(f"Vault is not available: {reason}.")
    error.is_away = True
    return error
