"""Many records of one partition, read in few requests.

Hides how: what was stored together lies together, so records that are near each other are read as a
range of the topic, and only those that are alone one by one.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from app.errors import GatewayError, LogUnavailableError, RecordGoneError
from app.log import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from app.log import ReadableLog, StoredRecord

# From so many on, a range is read, which takes a connection of its own.
_MIN_RANGE = 4
# Records of some 200 bytes: reading over so many costs less than a read for itself.
_MAX_GAP = 500
# Reads of single records at once; the log has some connections for them.
_AT_ONCE = 16


async def read_many(
    log: ReadableLog,
    topic: str,
    offsets: Sequence[int],
    on_record: Callable[[StoredRecord], None] = lambda _: None,
) -> dict[int, StoredRecord | GatewayError]:
    """Return the records at these offsets of partition 0; or, for each, why it cannot be read.

    Args:
        log: The log.
        topic: The topic.
        offsets: The offsets.
        on_record: Called with each record that is read, neighbours included.
    """
    found: dict[int, StoredRecord | GatewayError] = {}
    alone: list[int] = []
    for group in _groups(sorted(set(offsets))):
        if len(group) >= _MIN_RANGE:
            found |= await _range(log, topic, group, on_record)
        alone += [each for each in group if each not in found]
    for start in range(0, len(alone), _AT_ONCE):
        some = alone[start : start + _AT_ONCE]
        read = (_one(log, topic, each, on_record) for each in some)
        found |= zip(some, await asyncio.gather(*read), strict=True)
    return found


async def _range(
    log: ReadableLog,
    topic: str,
    group: Sequence[int],
    on_record: Callable[[StoredRecord], None],
) -> dict[int, StoredRecord | GatewayError]:
    """Read from the first of these offsets to the last; return what the log has come to."""
    wanted, records, reached = set(group), {}, group[0]
    try:
        async with aclosing(log.tail(topic, 0, reached)) as tail:
            async for batch in tail:
                for record in batch.records:
                    on_record(record)
                    if record.position.offset in wanted:
                        records[record.position.offset] = record
                has_moved = batch.next_offset > reached
                reached = batch.next_offset
                if reached > group[-1] or not has_moved:
                    break
    except LogUnavailableError as error:
        return dict.fromkeys(group, error)
    except GatewayError:
        # One of them is damaged, or out of bounds: each for itself.
        return {}
    gone = RecordGoneError("The record was removed from the topic.")
    return {each: records.get(each, gone) for each in group if each < reached}


async def _one(
    log: ReadableLog, topic: str, offset: int, on_record: Callable[[StoredRecord], None]
) -> StoredRecord | GatewayError:
    try:
        fetched = await log.read(topic, Position(0, offset))
    except GatewayError as error:
        return error
    for record in (*fetched.neighbours, fetched.record):
        on_record(record)
    return fetched.record


def _groups(offsets: Sequence[int]) -> Iterator[list[int]]:
    """Cut offsets, in order, where the next one is far away."""
    group: list[int] = []
    for each in offsets:
        if group and each - group[-1] > _MAX_GAP:
            yield group
            group = []
        group.append(each)
    if group:
        yield group
