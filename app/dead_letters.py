"""The topic `image-rejects`: what could not be processed, by its address, with the reason.

Hides that a letter is written once, however often its record is met: every rebuild of a catalog
meets it anew. Where two replicas meet it in the same instant, both may write; the first one counts.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from app.log import EVENTS, REJECTS, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.log import Log, StoredRecord

logger = structlog.get_logger(__name__)

# A reason may quote what a stranger wrote.
_REASON_CHARACTERS = 500


class DeadLetters:
    """Writes letters into `log`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def write(self, rejected: Mapping[StoredRecord, str]) -> None:
        """Write a letter for each record of `image-events`, given with its reason."""
        letters = {_address(record): _letter(record, why) for record, why in rejected.items()}
        if not letters:
            return
        known = await self._known(set(letters))
        records = [Record(key, letter) for key, letter in letters.items() if key not in known]
        if records:
            await self._log.append(REJECTS, records)
        for record in records:
            logger.error("event_rejected", letter=letters[record.key].decode())

    async def _known(self, keys: set[bytes]) -> set[bytes]:
        """Return those of the keys that are there already."""
        bounds = await self._log.bounds(REJECTS, 0)
        known: set[bytes] = set()
        if bounds.start == bounds.end:
            return known
        async with aclosing(self._log.tail(REJECTS, 0, bounds.start)) as tail:
            async for batch in tail:
                known |= keys & {record.key for record in batch.records if record.key is not None}
                if batch.next_offset >= bounds.end:
                    break
        return known


def _address(record: StoredRecord) -> bytes:
    return f"{EVENTS}:{record.position}".encode()


def _letter(record: StoredRecord, reason: str) -> bytes:
    letter = {
        "topic": EVENTS,
        "partition": record.position.partition,
        "offset": record.position.offset,
        "reason": reason[:_REASON_CHARACTERS],
    }
    return json.dumps(letter).encode()
