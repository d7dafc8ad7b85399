"""Dead letters in the topic `image-rejects`: rejected records, by their address, with the reason.

Hides that a letter is written once, however often its record is met: every rebuild of a catalog
meets it again. Two replicas that meet it at once may both write a letter; the first one counts.

A letter with a `next_offset` records that an operator skips the damage from its offset on; every
replica that finds the damage looks for such a letter.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from app.errors import ConfigurationError, RecordDamagedError, RecordGoneError, RecordMissingError
from app.log import EVENTS, REJECTS, Position, Record
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from app.log import Log, StoredRecord

logger = structlog.get_logger(__name__)

# A reason may quote a record of another program.
_REASON_CHARACTERS = 500
# Between attempts while the log does not answer.
_RETRY_SECONDS = 0.5


class DeadLetters:
    """Writes letters into `log`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def write(self, rejected: Mapping[StoredRecord, str]) -> None:
        """Write a letter for each record of `image-events`, given with its reason."""
        letters = {
            _address(record.position): _letter(record.position, why)
            for record, why in rejected.items()
        }
        if not letters:
            return
        known = await self._known(set(letters))
        records = [Record(key, letter) for key, letter in letters.items() if key not in known]
        if records:
            await self._log.append(REJECTS, records)
        for record in records:
            metrics.DEAD_LETTERS.inc()
            logger.error("event_rejected", letter=letters[record.key].decode())

    async def skip(self, offset: int) -> int:
        """Let every replica skip the damage from `offset` on; return the offset after it.

        Raises:
            ConfigurationError: Nothing is damaged there.
            LogUnavailableError, NotWrittenError, OutcomeUnknownError: The log does not work.
        """
        if not await self._is_damaged(offset):
            raise ConfigurationError(
                f"The record at offset {offset} of {EVENTS} can be read, or there is none:"
                " nothing has to be skipped."
            )
        next_offset = offset + 1
        # The damage may be in a batch's own count of its records: only reading tells.
        while await self._is_damaged(next_offset):
            next_offset += 1
        where = Position(0, offset)
        letter = _letter(where, "damaged, and skipped by an operator", next_offset=next_offset)
        await self._log.append(REJECTS, [Record(_address(where), letter)])
        return next_offset

    async def skipped(self, offset: int) -> int | None:
        """Return the offset after the damage at `offset`, if an operator has skipped it."""
        async with aclosing(self._letters()) as letters:
            async for record in letters:
                with suppress(ValueError, TypeError, KeyError, RecursionError):
                    letter = json.loads(record.value or b"")
                    if (
                        letter["topic"] == EVENTS
                        and letter["offset"] <= offset < letter["next_offset"]
                    ):
                        return int(letter["next_offset"])
        return None

    async def _known(self, keys: set[bytes]) -> set[bytes | None]:
        """Return those of the keys that have a letter already."""
        return {record.key async for record in self._letters() if record.key in keys}

    async def _letters(self) -> AsyncGenerator[StoredRecord, None]:
        offset = 0
        while True:
            bounds = await self._log.bounds(REJECTS, 0)
            offset = max(offset, bounds.start)
            if offset >= bounds.end:
                return
            try:
                async with aclosing(self._log.tail(REJECTS, 0, offset)) as tail:
                    async for batch in tail:
                        for record in batch.records:
                            yield record
                        offset = batch.next_offset
                        if offset >= bounds.end:
                            return
            except RecordDamagedError as error:
                # A lost letter is written again when its record is met, or by an operator.
                offset = error.offset + 1
            except (RecordGoneError, RecordMissingError):
                # Retention took it just now, or the topic was replaced.
                offset = 0
            # The tail was interrupted: do not retry in a tight loop.
            await asyncio.sleep(_RETRY_SECONDS)

    async def _is_damaged(self, offset: int) -> bool:
        try:
            await self._log.read(EVENTS, Position(0, offset))
        except RecordDamagedError:
            return True
        except (RecordGoneError, RecordMissingError):
            return False
        return False


def _address(position: Position) -> bytes:
    return f"{EVENTS}:{position}".encode()


def _letter(position: Position, reason: str, **more: int) -> bytes:
    letter = {
        "topic": EVENTS,
        "partition": position.partition,
        "offset": position.offset,
        "reason": reason[:_REASON_CHARACTERS],
    }
    return json.dumps(letter | more).encode()
