"""Wrapped keys, read from `image-keys` by their addresses.

Hides that those of a page of events are read together, that one for which many ask at once is read
once, and that a number of records stay in memory: parsed when they are asked for, as a range of the
topic may bring some thousand.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from app.errors import (
    GatewayError,
    ImageGoneError,
    KeyUnavailableError,
    LogUnavailableError,
    RecordGoneError,
    RecordMissingError,
)
from app.log import KEYS
from app.log.many import read_many
from app.readings import Readings
from app.records import key_record
from app.sealing.wrapped_key import WrappedKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.log import ReadableLog, StoredRecord
    from app.records.address import Address

# A wrapped key; or why it cannot be had: for ever, or now.
Wrapped = WrappedKey | ImageGoneError | KeyUnavailableError

# Some 300 bytes each.
_CACHED_RECORDS = 10_000


class KeyReader:
    """Reads the records of keys in `log`."""

    def __init__(self, log: ReadableLog) -> None:
        self._log = log
        # Key and value, by offset.
        self._cached: OrderedDict[int, tuple[bytes | None, bytes | None]] = OrderedDict()
        self._readings: Readings[dict[Address, Wrapped]] = Readings()

    async def read(self, addresses: Sequence[Address]) -> dict[Address, Wrapped]:
        """Return the wrapped key at each address; or why it cannot be had."""
        found: dict[Address, Wrapped] = {}
        for each in addresses:
            cached = self._cached.get(each.position.offset)
            # Another one is of a topic that was replaced.
            if cached is not None and each.opens(cached[0]):
                self._cached.move_to_end(each.position.offset)
                found[each] = _parsed(cached[1])
        if unknown := tuple(dict.fromkeys(each for each in addresses if each not in found)):
            found |= await self._readings.once(unknown, partial(self._read, unknown))
        return found

    async def _read(self, addresses: Sequence[Address]) -> dict[Address, Wrapped]:
        offsets = [each.position.offset for each in addresses]
        read = await read_many(self._log, KEYS, offsets, self._remember)
        return {each: _judged(each, read[each.position.offset]) for each in addresses}

    def _remember(self, record: StoredRecord) -> None:
        if record.value is not None and key_record.is_short(record):
            self._cached[record.position.offset] = record.key, record.value
            if len(self._cached) > _CACHED_RECORDS:
                self._cached.popitem(last=False)


def gone() -> ImageGoneError:
    """Return the error for an image whose key is no longer in the log."""
    return ImageGoneError("The key of the image was erased.")


def _judged(where: Address, record: StoredRecord | GatewayError) -> Wrapped:
    match record:
        case RecordGoneError() | RecordMissingError():
            return gone()
        case LogUnavailableError(detail=detail):
            return _away(detail)
        case GatewayError(detail=detail):
            return KeyUnavailableError(f"The record of the image's key: {detail}")
    # Another record is there in a topic that was replaced.
    return _parsed(record.value) if where.opens(record.key) else gone()


def _parsed(value: bytes | None) -> Wrapped:
    try:
        return key_record.parse(value)
    except ValueError:
        return KeyUnavailableError("The record of the image's key holds none.")


def _away(reason: str) -> KeyUnavailableError:
    error = KeyUnavailableError(f"The image's key cannot be read now: {reason}")
    error.is_away = True
    return error
