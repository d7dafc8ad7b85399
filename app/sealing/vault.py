"""Key-encryption keys of HashiCorp Vault: the transit engine generates data keys and unwraps them.

Hides its API, and that it may be away. Unwrapped keys stay in memory for a while, so that a picture
that is often viewed costs one request; after a failure, the next one is sent a second later, so
that nobody waits for timeouts in turn. A refusal holds up only what it refuses: uploads that the
token may not make must not keep pictures from being read. A wrapped key may name no other key of
Vault than ours: it was read from a log into which others may write.

Source: https://developer.hashicorp.com/vault/api-docs/secret/transit, "Generate data key",
"Decrypt data", "Rewrap data" and "Encrypt data". Where all items of a batch fail, the status is 400
whatever was asked for, and the items are there.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import httpx
import structlog
from pydantic import BaseModel, Field, ValidationError

from app.errors import ConfigurationError, KeyUnavailableError
from app.readings import Readings
from app.sealing.turns import CrowdedError, Turns
from app.sealing.wrapped_key import DATA_KEY_BYTES, DataKey, WrappedKey, parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

logger = structlog.get_logger(__name__)

# The beginning of the id of a key of Vault, and of a text that it has encrypted.
PREFIX = "vault:"
# Items of a batch: some 20 KB of answer.
_BATCH = 128
# Of those that one list of images needs.
_BATCHES_AT_ONCE = 4
# Some 5 MB.
_CACHED_KEYS = 10_000
_REST_SECONDS = 1.0
_MAX_ANSWER_BYTES = 1_000_000
_BAD_REQUEST = 400
# What a token may be allowed, one without the other.
_GENERATE, _DECRYPT = "datakey/plaintext", "decrypt"
_REWRAP, _ENCRYPT = "rewrap", "encrypt"


class _Made(BaseModel):
    plaintext: str
    ciphertext: str


class _Item(BaseModel):
    plaintext: str = ""
    ciphertext: str = ""
    error: str = ""


class _Items(BaseModel):
    batch_results: Annotated[list[_Item], Field(max_length=_BATCH)]


@dataclass(slots=True)
class _Trouble:
    """Why an operation failed last, empty if it did not, and when."""

    reason: str = ""
    since: float = -float("inf")


class _MadeAnswer(BaseModel):
    data: _Made


class _ItemsAnswer(BaseModel):
    data: _Items


class VaultKeys:
    """A `KeyService` whose keys are one key of Vault's transit engine, in its versions.

    Args:
        url: The address of Vault.
        mount: Where the engine is.
        name: The name of its key.
        token: Returns the token as it is now; it may block.
        timeout_seconds: How long a request may take.
        cache_seconds: How long an unwrapped key is kept.
        namespace: That of Vault Enterprise, or empty.
        tls: How Vault's certificate is verified.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        mount: str,
        name: str,
        token: Callable[[], str],
        *,
        timeout_seconds: float,
        cache_seconds: float,
        namespace: str = "",
        tls: ssl.SSLContext | bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = f"{url.rstrip('/')}/v1/{mount.strip('/')}"
        self._name = name
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._client = httpx.AsyncClient(
            verify=tls,
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            headers={"accept-encoding": "identity"}
            | ({"x-vault-namespace": namespace} if namespace else {}),
        )
        # By wrapped key, with the time at which it is forgotten; the oldest first.
        self._cached: OrderedDict[WrappedKey, tuple[float, bytes]] = OrderedDict()
        self._forgetting: asyncio.TimerHandle | None = None
        self._readings: Readings[list[bytes | KeyUnavailableError]] = Readings()
        self._checks: Readings[str] = Readings()
        self._turns = Turns()
        self._troubles = {each: _Trouble() for each in (_GENERATE, _DECRYPT, _REWRAP, _ENCRYPT)}

    async def resolve(self, alias: str) -> str:
        """Return the id of our key: the engine uses its latest version."""
        return f"{PREFIX}{alias or self._name}"

    async def generate(self, kek: str) -> DataKey:
        """Return a new data key, wrapped by the latest version of a key."""
        name = kek.removeprefix(PREFIX)
        body: dict[str, object] = {"bits": DATA_KEY_BYTES * 8}
        _, content = await self._request(_GENERATE, name, body)
        try:
            made = _MadeAnswer.model_validate_json(content).data
            wrapped = self._wrapped(made.ciphertext, name)
        except ValueError:
            # Its message would quote a part of the key.
            raise self._failed("it answers with no data key") from None
        if (plain := _key(made.plaintext)) is None:
            raise self._failed("it answers with a data key of another length")
        self._remember(wrapped, plain)
        return DataKey(plain, wrapped)

    async def require(self, kek: str) -> None:
        """Check, after a failure, that data keys are generated again.

        Those who ask at once share a request: while Vault is away, uploads are refused before their
        bodies are sent, and the first one after it has come back is not.
        """
        if self._troubles[_GENERATE].reason:
            reason = await self._checks.once(kek, partial(self._check, kek))
            if reason:
                raise _away(reason)

    async def _check(self, kek: str) -> str:
        """Return why no data key is generated; empty if one is."""
        with suppress(KeyUnavailableError):
            await self.generate(kek)
        return self._troubles[_GENERATE].reason

    async def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[bytes | KeyUnavailableError]:
        """Return data keys, or why they cannot be had; one request for many."""
        found: dict[WrappedKey, bytes | KeyUnavailableError] = {}
        unknown = []
        for each in dict.fromkeys(wrapped):
            if (cached := self._recall(each)) is not None:
                found[each] = cached
            elif self._is_ours(each):
                unknown.append(each)
            else:
                found[each] = KeyUnavailableError.another(
                    f"The gateway does not use the key {each.kek}."
                )
        batches = [tuple(unknown[at : at + _BATCH]) for at in range(0, len(unknown), _BATCH)]
        for at in range(0, len(batches), _BATCHES_AT_ONCE):
            some = batches[at : at + _BATCHES_AT_ONCE]
            answers = await asyncio.gather(
                *(self._readings.once(batch, partial(self._decrypt, batch)) for batch in some)
            )
            for batch, answer in zip(some, answers, strict=True):
                found |= zip(batch, answer, strict=True)
        return [found[each] for each in wrapped]

    async def rewrap(
        self, wrapped: Sequence[WrappedKey], kek: str
    ) -> list[WrappedKey | KeyUnavailableError]:
        """Return data keys, wrapped by the latest version of a key; or why they cannot be had."""
        name, made = kek.removeprefix(PREFIX), []
        for at in range(0, len(wrapped), _BATCH):
            batch = wrapped[at : at + _BATCH]
            inputs = [{"ciphertext": _ciphertext(each)} for each in batch]
            for before, item in zip(batch, await self._items(_REWRAP, name, inputs), strict=True):
                made.append(self._rewrapped(before, item, name))
        return made

    def _rewrapped(
        self, before: WrappedKey, item: _Item, name: str
    ) -> WrappedKey | KeyUnavailableError:
        try:
            after = self._wrapped(item.ciphertext, name)
        except ValueError:
            return KeyUnavailableError.another(
                f"Vault does not wrap again what {before.kek} has wrapped."
            )
        # The latest version wraps again even that which it has wrapped.
        return before if after.kek == before.kek else after

    async def wrap(self, plain: Sequence[bytes], kek: str) -> list[WrappedKey]:
        """Return data keys, wrapped by the latest version of a key."""
        name, made = kek.removeprefix(PREFIX), []
        for at in range(0, len(plain), _BATCH):
            inputs = [
                {"plaintext": base64.b64encode(each).decode()} for each in plain[at : at + _BATCH]
            ]
            items = await self._items(_ENCRYPT, name, inputs)
            try:
                made += [self._wrapped(each.ciphertext, name) for each in items]
            except ValueError:
                # Its message would quote a part of the key.
                raise self._failed("it wraps no key", _ENCRYPT) from None
        return made

    async def _items(self, operation: str, name: str, inputs: list[dict[str, str]]) -> list[_Item]:
        _, content = await self._request(operation, name, {"batch_input": inputs})
        try:
            items = _ItemsAnswer.model_validate_json(content).data.batch_results
        except ValidationError:
            items = []
        if len(items) != len(inputs):
            raise self._failed("an answer without keys", operation)
        return items

    def _wrapped(self, ciphertext: str, name: str) -> WrappedKey:
        return parse(f"{PREFIX}{name}:{ciphertext.removeprefix(PREFIX)}")

    async def stop(self) -> None:
        """Close the connections, and forget the keys."""
        self._cached.clear()
        self._forget_old()
        await self._client.aclose()

    def _is_ours(self, wrapped: WrappedKey) -> bool:
        return wrapped.kek.rpartition(":")[0] == f"{PREFIX}{self._name}"

    async def _decrypt(self, batch: Sequence[WrappedKey]) -> list[bytes | KeyUnavailableError]:
        body = {
            "batch_input": [{"ciphertext": _ciphertext(each)} for each in batch],
            "partial_failure_response_code": 200,
        }
        try:
            status, content = await self._request(_DECRYPT, self._name, body)
            items = _ItemsAnswer.model_validate_json(content).data.batch_results
        except KeyUnavailableError as error:
            return [error] * len(batch)
        except ValidationError:
            items = []
        if len(items) != len(batch):
            refused = [_DECRYPT] if status == _BAD_REQUEST else []
            return [self._failed(f"status {status}, without keys", *refused)] * len(batch)
        return [self._opened(each, item) for each, item in zip(batch, items, strict=True)]

    def _opened(self, wrapped: WrappedKey, item: _Item) -> bytes | KeyUnavailableError:
        plain = None if item.error else _key(item.plaintext)
        if plain is None:
            return KeyUnavailableError.another(f"Vault does not unwrap by the key {wrapped.kek}.")
        self._remember(wrapped, plain)
        return plain

    async def _request(
        self, operation: str, name: str, body: dict[str, object]
    ) -> tuple[int, bytes]:
        """Send a request in its turn; a failure is that of the requests of the next second, too."""
        self._require_rested(operation)
        try:
            async with self._turns.take():
                # It may have failed meanwhile.
                self._require_rested(operation)
                return await self._send(operation, name, body)
        except CrowdedError as error:
            raise _away(f"it is slow, and {error}") from error

    def _require_rested(self, operation: str) -> None:
        trouble = self._troubles[operation]
        if self._clock() - trouble.since < _REST_SECONDS:
            raise _away(trouble.reason)

    async def _send(self, operation: str, name: str, body: dict[str, object]) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                token = {"x-vault-token": await asyncio.to_thread(self._read_token)}
                status, content = await self._answer(f"{operation}/{name}", body, token)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._failed(f"no answer ({type(error).__name__})") from error
        except ConfigurationError as error:
            raise self._failed("its token cannot be used") from error
        if len(content) > _MAX_ANSWER_BYTES:
            raise self._failed(f"an answer of over {_MAX_ANSWER_BYTES:,} bytes")
        has_items = operation != _GENERATE and status == _BAD_REQUEST
        if httpx.codes.is_client_error(status) and not has_items:
            raise self._failed(f"status {status}", operation)
        if not (httpx.codes.is_success(status) or has_items):
            raise self._failed(f"status {status}")
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

    def _failed(self, reason: str, *operations: str) -> KeyUnavailableError:
        """Return the error for a failure of some operations, or of all."""
        if all(each.reason != reason for each in self._troubles.values()):
            logger.warning("vault_unavailable", reason=reason)
        for operation in operations or self._troubles:
            self._troubles[operation] = _Trouble(reason, self._clock())
        return _away(reason)

    def _succeeded(self, operation: str) -> None:
        was_in_trouble = any(each.reason for each in self._troubles.values())
        self._troubles[operation].reason = ""
        if was_in_trouble and not any(each.reason for each in self._troubles.values()):
            logger.info("vault_available")

    def _recall(self, wrapped: WrappedKey) -> bytes | None:
        until, plain = self._cached.get(wrapped, (0.0, b""))
        return plain if self._clock() < until else None

    def _remember(self, wrapped: WrappedKey, plain: bytes) -> None:
        if self._cache_seconds:
            self._cached.pop(wrapped, None)
            self._cached[wrapped] = self._clock() + self._cache_seconds, plain
        self._forget_old()

    def _forget_old(self) -> None:
        # And again in time, if nobody asks for another key by then.
        while self._cached:
            left_seconds = next(iter(self._cached.values()))[0] - self._clock()
            if left_seconds > 0 and len(self._cached) <= _CACHED_KEYS:
                break
            self._cached.popitem(last=False)
        if self._forgetting is not None:
            self._forgetting.cancel()
        if self._cached:
            later = asyncio.get_running_loop().call_later
            self._forgetting = later(left_seconds, self._forget_old)


def _ciphertext(wrapped: WrappedKey) -> str:
    """Return a wrapped key as Vault has written it."""
    return f"{PREFIX}{wrapped.kek.rpartition(':')[2]}:{wrapped.text}"


def _away(reason: str) -> KeyUnavailableError:
    error = KeyUnavailableError(f"Vault is not available: {reason}.")
    error.is_away = True
    return error


def _key(text: str) -> bytes | None:
    """Return a data key from Base64; None if it is none."""
    try:
        plain = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return plain if len(plain) == DATA_KEY_BYTES else None
