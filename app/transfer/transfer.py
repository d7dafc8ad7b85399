"""Everything that a log holds, moved into another, in its order.

Hides how a transfer goes on where it was ended, and why nothing comes twice: what is in the target
already is known by the target itself, by the ids that images had in the source. An event is
appended again until it is acknowledged, as a copy of it changes nothing.

Images are copied several at once; their events are appended in the order of the source. An image
that was deleted there, or has expired, comes as a deletion of its id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from app.errors import (
    ConfigurationError,
    GatewayError,
    ImageGoneError,
    KeyUnavailableError,
    LogUnavailableError,
    NotReadyError,
    NotWrittenError,
    OutcomeUnknownError,
    RecordDamagedError,
    RecordGoneError,
    RecordMissingError,
)
from app.events.event import (
    Event,
    ImageDeleted,
    ImageStored,
    PoisonEventError,
    UnknownEvent,
    decode,
    encode,
)
from app.log import EVENTS, Position

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from app.catalog.facts import Fact
    from app.log import Log, ReadableLog, Record
    from app.reader.view import View
    from app.records.signature import Signatures
    from app.transfer.copy import Copier

logger = structlog.get_logger(__name__)

# Facts read in one go.
_PAGE = 200
# Images copied at once, and their bytes: each is in memory three times at most.
_AT_ONCE = 16
_BYTES_AT_ONCE = 48_000_000
# Between attempts while a log does not answer; each is twice as long as the one before, as parts of
# a large image may be written each time, and stay in the log.
_RETRY_SECONDS = 1.0
_MAX_DOUBLINGS = 6
_TEMPORARY = (LogUnavailableError, NotReadyError, NotWrittenError, OutcomeUnknownError)


@dataclass(slots=True)
class Counts:
    """Counts of images: moved now, as deleted ones, there before and not gone, or not readable."""

    moved: int = 0
    moved_bytes: int = 0
    deleted: int = 0
    there: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    """A fact that is being carried over, and the bytes of its image, which are in memory."""

    sequence: int
    size_bytes: int
    task: asyncio.Task[Event | None]


class Transfer:
    """Moves what `source` knows of `source_log` into `log`.

    Args:
        source_log: The log to read.
        source: What is known of it.
        log: The log to write.
        target: What is known of that.
        copier: Copies images from the one into the other.
        signatures: Sign what is written.
        on_facts: Called with how many facts are behind, how many there are, and the counts.

    Attributes:
        counts: What became of the images so far.
    """

    def __init__(
        self,
        source_log: ReadableLog,
        source: View,
        log: Log,
        target: View,
        copier: Copier,
        signatures: Signatures,
        *,
        on_facts: Callable[[int, int, Counts], None] = lambda _done, _all, _counts: None,
    ) -> None:
        self._source_log = source_log
        self._source = source
        self._log = log
        self._target = target
        self._copier = copier
        self._signatures = signatures
        self._on_facts = on_facts
        self._works: deque[_Work] = deque()
        self._trouble = ""
        self.counts = Counts()

    async def run(self) -> None:
        """Move everything, until the source has nothing more.

        Raises:
            ConfigurationError: Both are one log, or one is signed and its keys are not set.
            NewerVersionError: Only a newer version understands an event of one of them.
            NotReadyError: What was known of the source had to be rebuilt meanwhile.
            GatewayError: A log refuses what it is asked for.
        """
        if self._source_log.identity == self._log.identity:
            raise ConfigurationError("That is the log to import into: name another one.")
        # In turn: each takes a core.
        await self._source.filled()
        # The target's keys would sign what strangers wrote.
        self._source.require_keys(" in --source-env")
        await self._target.filled()
        self._target.require_keys()
        try:
            async for fact in self._facts():
                size_bytes = fact.image.info.stored_bytes if fact.image else 0
                while self._works and not self._has_room(size_bytes):
                    await self._finish_some()
                carried = asyncio.create_task(self._carry(fact))
                self._works.append(_Work(fact.sequence, size_bytes, carried))
            while self._works:
                await self._finish_some()
        finally:
            for work in self._works:
                work.task.cancel()
            await asyncio.gather(*(each.task for each in self._works), return_exceptions=True)

    def _has_room(self, size_bytes: int) -> bool:
        held = sum(each.size_bytes for each in self._works)
        return len(self._works) < _AT_ONCE and held + size_bytes <= _BYTES_AT_ONCE

    async def _facts(self) -> AsyncGenerator[Fact, None]:
        sequence, epoch = -1, self._source.feed.epoch
        while page := await self._source.catalog.facts(sequence, _PAGE):
            for fact in page:
                yield fact
            sequence = page[-1].sequence
        self._source.require_unbroken(epoch)

    async def _finish_some(self) -> None:
        """Wait for the oldest work; append the events of all up to the first that is unfinished."""
        await asyncio.wait({self._works[0].task})
        events, sequence = [], -1
        while self._works and self._works[0].task.done():
            # It stays among the works if it has failed.
            event = self._works[0].task.result()
            sequence = self._works.popleft().sequence
            if event is not None:
                events.append(event)
        await self._append([self._signatures.sign(EVENTS, encode(each)) for each in events])
        for event in events:
            if isinstance(event, ImageStored):
                self.counts.moved += 1
                self.counts.moved_bytes += event.info.content_length
            else:
                self.counts.deleted += 1
        self._trouble = ""
        self._on_facts(sequence + 1, self._source.feed.sequence + 1, self.counts)

    async def _append(self, events: list[Record]) -> None:
        attempts = 0
        while events:
            try:
                await self._log.append(EVENTS, events)
            except (NotWrittenError, OutcomeUnknownError) as error:
                attempts += 1
                await self._wait_after(error, attempts)
            else:
                return

    async def _carry(self, fact: Fact) -> Event | None:
        """Return the event that is to say in the target what a fact says in the source."""
        attempts = 0
        while True:
            try:
                return await self._event_of(fact)
            except GatewayError as error:
                if not _is_temporary(error):
                    self.counts.failed += 1
                    logger.error("import_failed", image_id=fact.image_id, reason=error.reason)  # noqa: TRY400
                    return None
                attempts += 1
                await self._wait_after(error, attempts)

    async def _event_of(self, fact: Fact) -> Event | None:
        if fact.type == "image.deleted":
            there = (await self._target.catalog.known(fact.image_id)).ownership
            return None if there and there.is_deleted else await self._deletion(fact)
        former_ids = fact.image.former_ids if fact.image else ()
        if any([await self._is_there(each) for each in (fact.image_id, *former_ids)]):
            # Of one that is gone by now, only its end was brought.
            self.counts.there += fact.image is not None
            return None
        if fact.image is not None:
            try:
                return await self._copier.copy(fact.image)
            except ImageGoneError:
                logger.info("import_passed_over", image_id=fact.image_id)
        return await self._end_of(fact)

    async def _end_of(self, fact: Fact) -> ImageDeleted | None:
        """Return that an image is gone which the source no longer lists, if that is to be said."""
        here = await self._source.catalog.known(fact.image_id)
        if not self._source.feed.is_stopped:
            # An empty catalog, which has just replaced another, knows nothing to be there.
            self._source.feed.require_caught_up()
        if here.image_id != fact.image_id:
            # It left the log, and came back: the fact that says so is still to come.
            return None
        if here.ownership is not None and here.ownership.is_deleted:
            # So is the one that says so.
            return None
        gone = await self._deletion(fact)
        if any([await self._is_there(each) for each in gone.former_ids]):
            # It left the source by itself, and nobody deleted it where it was before.
            return None
        return gone

    async def _is_there(self, image_id: str) -> bool:
        """Tell whether the target knows an image by this id, deleted ones included."""
        known = await self._target.catalog.known(image_id)
        return known.ownership is not None or known.image_id != image_id

    async def _deletion(self, fact: Fact) -> ImageDeleted:
        """Return that the image of a fact is gone, with all that the source knows of it."""
        known = (await self._source.catalog.known(fact.image_id)).ownership
        deletion = ImageDeleted(fact.image_id, *(known.owner, known.visibility) if known else ())
        match await self._said(fact):
            case ImageStored(info=info, claim=claim, move=move):
                # It has expired.
                former_ids = move.former_ids if move else ()
                return ImageDeleted(
                    fact.image_id, info.owner, info.visibility, claim, former_ids, info.source
                )
            case ImageDeleted(claim=claim, former_ids=former_ids, source=source):
                return replace(deletion, claim=claim, former_ids=former_ids, source=source)
        return deletion

    async def _said(self, fact: Fact) -> Event | UnknownEvent | None:
        """Return the event of a fact, unless it was erased or is damaged."""
        try:
            return decode((await self._source_log.read(EVENTS, Position(0, fact.sequence))).record)
        except (RecordGoneError, RecordMissingError, RecordDamagedError, PoisonEventError):
            return None

    async def _wait_after(self, error: GatewayError, attempts: int) -> None:
        if error.reason != self._trouble:
            # Once for all that wait, until something else happens.
            logger.warning("import_waits", reason=error.reason)
            self._trouble = error.reason
        await asyncio.sleep(_RETRY_SECONDS * 2 ** min(attempts - 1, _MAX_DOUBLINGS))


def _is_temporary(error: GatewayError) -> bool:
    return isinstance(error, _TEMPORARY) or (
        isinstance(error, KeyUnavailableError) and error.is_away
    )
