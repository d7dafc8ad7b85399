"""Key-encryption keys of HashiCorp Vault: the transit engine generates data keys and unwraps them.

Hides its API. Unwrapped keys stay in memory for a while, so that a picture that is often viewed
costs one request. A wrapped key may name no other key of Vault than ours: it was read from a log
into which others may write.

Source: https://developer.hashicorp.com/vault/api-docs/secret/transit, "Generate data key",
"Decrypt data", "Rewrap data" and "Encrypt data".
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from app.errors import KeyUnavailableError
from app.readings import Readings
from app.sealing.vault_requests import (
    BAD_REQUEST,
    DECRYPT,
    ENCRYPT,
    GENERATE,
    REWRAP,
    VaultRequests,
    away,
)
from app.sealing.wrapped_key import DATA_KEY_BYTES, DataKey, WrappedKey, parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

# The beginning of the id of a key of Vault, and of a text that it has encrypted.
PREFIX = "vault:"
# Items of a batch: some 20 KB of answer.
_BATCH = 128
# Of those that one list of images needs.
_BATCHES_AT_ONCE = 4
# Some 5 MB.
_CACHED_KEYS = 10_000


class _Made(BaseModel):
    plaintext: str
    ciphertext: str


class _Item(BaseModel):
    plaintext: str = ""
    ciphertext: str = ""
    error: str = ""


class _Items(BaseModel):
    batch_results: Annotated[list[_Item], Field(max_length=_BATCH)]


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
        self._name = name
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._requests = VaultRequests(
            *(url, mount, token, clock),
            timeout_seconds=timeout_seconds,
            namespace=namespace,
            tls=tls,
        )
        # By wrapped key, with the time at which it is forgotten; the oldest first.
        self._cached: OrderedDict[WrappedKey, tuple[float, bytes]] = OrderedDict()
        self._forgetting: asyncio.TimerHandle | None = None
        self._readings: Readings[list[bytes | KeyUnavailableError]] = Readings()
        self._checks: Readings[str] = Readings()

    async def resolve(self, alias: str) -> str:
        """Return the id of our key: the engine uses its latest version."""
        return f"{PREFIX}{alias or self._name}"

    async def generate(self, kek: str) -> DataKey:
        """Return a new data key, wrapped by the latest version of a key."""
        name = kek.removeprefix(PREFIX)
        body: dict[str, object] = {"bits": DATA_KEY_BYTES * 8}
        _, content = await self._requests.send(GENERATE, name, body)
        try:
            made = _MadeAnswer.model_validate_json(content).data
            wrapped = self._wrapped(made.ciphertext, name)
        except ValueError:
            # Its message would quote a part of the key.
            raise self._requests.failed("it answers with no data key") from None
        if (plain := _key(made.plaintext)) is None:
            raise self._requests.failed("it answers with a data key of another length")
        self._remember(wrapped, plain)
        return DataKey(plain, wrapped)

    async def require(self, kek: str) -> None:
        """Check, after a failure, that data keys are generated again.

        Those who ask at once share a request: while Vault is away, uploads are refused before their
        bodies are sent, and the first one after it has come back is not.
        """
        if self._requests.trouble(GENERATE):
            reason = await self._checks.once(kek, partial(self._check, kek))
            if reason:
                raise away(reason)

    async def _check(self, kek: str) -> str:
        """Return why no data key is generated; empty if one is."""
        with suppress(KeyUnavailableError):
            await self.generate(kek)
        return self._requests.trouble(GENERATE)

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
            for before, item in zip(batch, await self._items(REWRAP, name, inputs), strict=True):
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
            items = await self._items(ENCRYPT, name, inputs)
            try:
                made += [self._wrapped(each.ciphertext, name) for each in items]
            except ValueError:
                # Its message would quote a part of the key.
                raise self._requests.failed("it wraps no key", ENCRYPT) from None
        return made

    async def _items(self, operation: str, name: str, inputs: list[dict[str, str]]) -> list[_Item]:
        _, content = await self._requests.send(operation, name, {"batch_input": inputs})
        try:
            items = _ItemsAnswer.model_validate_json(content).data.batch_results
        except ValidationError:
            items = []
        if len(items) != len(inputs):
            raise self._requests.failed("an answer without keys", operation)
        return items

    def _wrapped(self, ciphertext: str, name: str) -> WrappedKey:
        return parse(f"{PREFIX}{name}:{ciphertext.removeprefix(PREFIX)}")

    async def stop(self) -> None:
        """Close the connections, and forget the keys."""
        self._cached.clear()
        self._forget_old()
        await self._requests.close()

    def _is_ours(self, wrapped: WrappedKey) -> bool:
        return wrapped.kek.rpartition(":")[0] == f"{PREFIX}{self._name}"

    async def _decrypt(self, batch: Sequence[WrappedKey]) -> list[bytes | KeyUnavailableError]:
        body = {
            "batch_input": [{"ciphertext": _ciphertext(each)} for each in batch],
            "partial_failure_response_code": 200,
        }
        try:
            status, content = await self._requests.send(DECRYPT, self._name, body)
            items = _ItemsAnswer.model_validate_json(content).data.batch_results
        except KeyUnavailableError as error:
            return [error] * len(batch)
        except ValidationError:
            items = []
        if len(items) != len(batch):
            refused = [DECRYPT] if status == BAD_REQUEST else []
            return [self._requests.failed(f"status {status}, without keys", *refused)] * len(batch)
        return [self._opened(each, item) for each, item in zip(batch, items, strict=True)]

    def _opened(self, wrapped: WrappedKey, item: _Item) -> bytes | KeyUnavailableError:
        plain = None if item.error else _key(item.plaintext)
        if plain is None:
            return KeyUnavailableError.another(f"Vault does not unwrap by the key {wrapped.kek}.")
        self._remember(wrapped, plain)
        return plain

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


def _key(text: str) -> bytes | None:
    """Return a data key from Base64; None if it is none."""
    try:
        plain = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return plain if len(plain) == DATA_KEY_BYTES else None
