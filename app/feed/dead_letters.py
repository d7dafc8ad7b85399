"""Dead letters in the topic `image-rejects`: rejected records, by their address, with the reason.

Hides that a letter is written once, however often its record is met: every rebuild of a catalog
meets it again. Two replicas that meet it at once may both write a letter; the first one counts.
Letters are read once as well: a writer to the topics can cause any number of them.

A letter with a `next_offset` records that an operator skips the records from its offset on, damaged
or not; every replica that cannot apply one of them looks for such a letter. Where this gateway has
keys, only letters that they signed count: a stranger's would skip a deletion, or hide a forgery.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field

from app.errors import ConfigurationError, RecordDamagedError, RecordGoneError, RecordMissingError
from app.log import EVENTS, MAX_OFFSETS, REJECTS, Log, Position, Record
from app.records.signature import NO_SIGNATURES, Signatures, Verdict
from app.records.strict_json import parse_object
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from app.log import ReadableLog, StoredRecord

logger = structlog.get_logger(__name__)

# A reason may quote a record of another program.
_REASON_CHARACTERS = 500
# Ours have some 700: the reason, in JSON's escapes, and the address.
_LETTER_BYTES = 8_192
# Between attempts while the log does not answer.
_RETRY_SECONDS = 0.5


_ADDRESS = re.compile(rb"image-events:0:(0|[1-9][0-9]{0,14})")
_Offset = Annotated[int, Field(ge=0, lt=MAX_OFFSETS)]


class _Skip(BaseModel):
    """A letter by which an operator has records skipped."""

    model_config = ConfigDict(strict=True)

    topic: Literal["image-events"]
    partition: Literal[0]
    offset: _Offset
    next_offset: _Offset


class DeadLetters:
    """Writes letters into `log`, with `signatures`, and reads them.

    Where the log is only read, beside the gateways, none is written.
    """

    def __init__(self, log: ReadableLog, signatures: Signatures = NO_SIGNATURES) -> None:
        self._log = log
        self._writable = log if isinstance(log, Log) else None
        self._signatures = signatures
        # The next letter to read, and what those before it say of records at `_start` or behind.
        self._next_letter = 0
        self._start = 0
        self._rejected: set[int] = set()
        self._skips: list[_Skip] = []

    async def write(self, rejected: Mapping[StoredRecord, str]) -> None:
        """Write a letter for each record of `image-events`, given with its reason."""
        if not rejected or self._writable is None:
            return
        await self._read_on(min(record.position.offset for record in rejected))
        letters = {
            _address(record.position): _letter(record.position, why)
            for record, why in rejected.items()
            if record.position.offset not in self._rejected
        }
        if letters:
            await self._append(letters)
        for letter in letters.values():
            metrics.DEAD_LETTERS.inc()
            logger.error("event_rejected", letter=letter.decode())

    async def skip(self, offset: int) -> int:
        """Let every replica skip the record at `offset`; return the offset after it.

        If the record is damaged, all damage that follows it without a gap is skipped too.

        Raises:
            ConfigurationError: There is no record.
            LogUnavailableError, NotWrittenError, OutcomeUnknownError: The log does not work.
        """
        bounds = await self._log.bounds(EVENTS, 0)
        if not bounds.start <= offset < bounds.end:
            raise ConfigurationError(
                f"There is no record at offset {offset} of {EVENTS}: it has the offsets from"
                f" {bounds.start} up to {bounds.end - 1}."
            )
        next_offset, reason = offset + 1, "skipped by an operator"
        if await self._is_damaged(offset):
            reason = "damaged, and skipped by an operator"
            # The damage may be in a batch's own count of its records: only reading tells.
            while await self._is_damaged(next_offset):
                next_offset += 1
        where = Position(0, offset)
        letter = _letter(where, reason, next_offset=next_offset)
        await self._append({_address(where): letter})
        return next_offset

    async def skipped(self, offset: int) -> int | None:
        """Return the offset to go on at instead of `offset`, if an operator has skipped it."""
        await self._read_on(offset)
        return next((each.next_offset for each in self._skips if each.offset <= offset), None)

    async def _append(self, letters: Mapping[bytes, bytes]) -> None:
        records = [self._signatures.sign(REJECTS, Record(*each)) for each in letters.items()]
        if self._writable is None:
            raise TypeError("a letter for a log that is only read")
        await self._writable.append(REJECTS, records)

    async def _read_on(self, start: int) -> None:
        """Read the letters that came since the last time, about records from `start` on."""
        bounds = await self._log.bounds(REJECTS, 0)
        if start < self._start or bounds.end < self._next_letter:
            # The catalog is filled again, or the topic was replaced.
            self._next_letter, self._rejected, self._skips = 0, set(), []
        self._start = start
        self._rejected = {offset for offset in self._rejected if offset >= start}
        self._skips = [each for each in self._skips if each.next_offset > start]
        async with aclosing(self._letters(self._next_letter)) as letters:
            async for record in letters:
                self._next_letter = record.position.offset + 1
                self._note(record)

    def _note(self, letter: StoredRecord) -> None:
        if self._signatures and (self._signatures.verdict(REJECTS, letter) is not Verdict.SIGNED):
            return
        found = _ADDRESS.fullmatch(letter.key or b"")
        if found and (offset := int(found[1])) >= self._start:
            self._rejected.add(offset)
        # Most letters have no `next_offset`, and anyone may have written one.
        with suppress(ValueError):
            if (skip := _skip(letter.value or b"")).next_offset > self._start:
                self._skips.append(skip)

    async def _letters(self, offset: int) -> AsyncGenerator[StoredRecord, None]:
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


def _skip(value: bytes) -> _Skip:
    parse_object(value, _LETTER_BYTES)
    return _Skip.model_validate_json(value)


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
