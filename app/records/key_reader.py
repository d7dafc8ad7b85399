"""Wrapped keys, read from `image-keys` by their addresses.

Hides how many reads that takes. The keys of images that were stored together lie together: those
of a page of events are read as a range of the topic, not one by one, and a single record brings its
neighbours. A number of keys, wrapped, stay in memory.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import aclosing
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
from app.readings import Readings
from app.records import key_record
from app.records.address import Address
from app.sealing.wrapped_key import WrappedKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from app.log import ReadableLog, StoredRecord

# A wrapped key; or why it cannot be had: for ever, or now.
Wrapped = WrappedKey | ImageGoneError | KeyUnavailableError
# Some 500 bytes each.
_CACHED_KEYS = 10_000
# From so many on, a range of the topic is read, which takes a connection of its own.
_MIN_RANGE = 4
# Records of some 200 bytes: reading over so many costs less than a read for itself.
_MAX_GAP = 500
# Reads of single records at once; the log has some connections for them.
_AT_ONCE = 16


class KeyReader:
    """Reads the records of keys in `log`."""

    def __init__(self, log: ReadableLog) -> None:
        self._log = log
        self._cached: OrderedDict[Address, WrappedKey] = OrderedDict()
        self._readings: Readings[Wrapped] = Readings()

    async def read(self, addresses: Sequence[Address]) -> dict[Address, Wrapped]:
        """Return the wrapped key at each address; or why it cannot be had."""
        found: dict[Address, Wrapped] = {}
        unknown: list[Address] = []
        for each in dict.fromkeys(addresses):
            if (cached := self._cached.get(each)) is None:
                unknown.append(each)
            else:
                self._cached.move_to_end(each)
                found[each] = cached
        alone: list[Address] = []
        for group in _groups(sorted(unknown, key=lambda each: each.position)):
            if len(group) < _MIN_RANGE:
                alone += group
            else:
                read, left = await self._range(group)
                found |= read
                alone += left
        for start in range(0, len(alone), _AT_ONCE):
            some = alone[start : start + _AT_ONCE]
            read_alone = (self._readings.once(each, partial(self._one, each)) for each in some)
            found |= zip(some, await asyncio.gather(*read_alone), strict=True)
        return found

    async def _range(
        self, group: Sequence[Address]
    ) -> tuple[dict[Address, Wrapped], Sequence[Address]]:
        """Read from the first of these addresses to the last; return what is found, and the rest.

        The rest is what the log did not come to.
        """
        first, last = group[0].position.offset, group[-1].position.offset
        records: dict[int, StoredRecord] = {}
        wanted = {each.position.offset for each in group}
        reached = first
        try:
            async with aclosing(self._log.tail(KEYS, 0, first)) as tail:
                async for batch in tail:
                    for record in batch.records:
                        self._remember(record)
                        if record.position.offset in wanted:
                            records[record.position.offset] = record
                    if batch.next_offset > last or batch.next_offset == reached:
                        reached = batch.next_offset
                        break
                    reached = batch.next_offset
        except LogUnavailableError as error:
            return {each: _away(error.detail) for each in group}, ()
        except GatewayError:
            # One of them is damaged, or out of bounds: each for itself.
            return {}, group
        passed = [each for each in group if each.position.offset < reached]
        read = {each: _judged(each, records.get(each.position.offset)) for each in passed}
        return read, [each for each in group if each not in read]

    async def _one(self, where: Address) -> Wrapped:
        try:
            fetched = await self._log.read(KEYS, where.position)
        except (RecordGoneError, RecordMissingError):
            return gone()
        except LogUnavailableError as error:
            return _away(error.detail)
        except GatewayError as error:
            return KeyUnavailableError(f"The record of the image's key: {error.detail}")
        for record in (*fetched.neighbours, fetched.record):
            self._remember(record)
        return _judged(where, fetched.record)

    def _remember(self, record: StoredRecord) -> None:
        if record.value is None or (cookie := key_record.cookie_of(record)) is None:
            return
        try:
            self._cached[Address(record.position, cookie)] = key_record.parse(record)
        except ValueError:
            return
        if len(self._cached) > _CACHED_KEYS:
            self._cached.popitem(last=False)


def gone() -> ImageGoneError:
    """Return the error for an image whose key is no longer in the log."""
    return ImageGoneError("The key of the image was erased.")


def _judged(where: Address, record: StoredRecord | None) -> Wrapped:
    # Another record is there in a topic that was replaced.
    if record is None or not where.opens(record.key):
        return gone()
    try:
        return key_record.parse(record)
    except ValueError:
        return KeyUnavailableError("The record of the image's key holds none.")


def _away(reason: str) -> KeyUnavailableError:
    error = KeyUnavailableError(f"The image's key cannot be read now: {reason}")
    error.is_away = True
    return error


def _groups(addresses: Sequence[Address]) -> Iterator[list[Address]]:
    """Cut addresses, in order, where the next one is far away."""
    group: list[Address] = []
    for each in addresses:
        if group and each.position.offset - group[-1].position.offset > _MAX_GAP:
            yield group
            group = []
        group.append(each)
    if group:
        yield group
