"""The events of a log as they come, without a catalog.

Hides what interrupts them. They are the events that are in the log: also copies, and those of
images whose claim does not count, or whose token another image has, which only a catalog tells
apart. So watching begins at once, however long the log is.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from app.errors import LogUnavailableError, RecordGoneError, RecordMissingError
from app.events.opening import open_all
from app.events.sequenced import sort
from app.events.trust import Trust
from app.log import EVENTS
from app.log.kafka.read_only import ReadOnlyKafkaLog
from app.reader.options import first_ms
from app.records.image_keys import ImageKeys
from app.records.signature import Signatures
from app.sealing.configured import data_keys
from app.sealing.data_keys import NO_KEYS, DataKeys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.events.sequenced import SequencedEvent
    from app.log.kafka.settings import KafkaSettings
    from app.sealing.settings import SealingSettings

logger = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


class Watch:
    """The events of `log`, of which strangers' are left out as far as `signatures` tell.

    What is sealed is opened by `keys`, as far as they are there.
    """

    def __init__(
        self, log: ReadOnlyKafkaLog, signatures: Signatures, keys: DataKeys = NO_KEYS
    ) -> None:
        self._log = log
        self._keys = ImageKeys(log, keys)
        self._trust = Trust(signatures)

    async def events(
        self, since: datetime | int | None, *, follow: bool
    ) -> AsyncGenerator[SequencedEvent, None]:
        """Yield the events that come from now on.

        Args:
            since: Yield those first that were stored at this time or later, or that have this
                sequence number or a higher one.
            follow: Whether to wait for more at the end.

        Raises:
            NewerVersionError, RecordDamagedError: The next one cannot be read.
        """
        end = (await self._log.bounds(EVENTS, 0)).end
        offset = await self._first(since, end)
        while follow or offset < end:
            try:
                async with aclosing(self._log.tail(EVENTS, 0, offset)) as tail:
                    async for batch in tail:
                        found = sort(batch.records, self._trust)
                        await open_all(found, batch.records, self._keys)
                        for each in found.events:
                            yield each
                        if found.newer is not None:
                            raise found.newer
                        offset = batch.next_offset
                        if not follow and offset >= end:
                            break
            except LogUnavailableError as error:
                logger.warning("reader_waits", reason=error.reason)
                await asyncio.sleep(_RETRY_SECONDS)
            except (RecordGoneError, RecordMissingError):
                # The topic was replaced, or lost its beginning.
                logger.warning("reader_log_replaced", group_offset=offset)
                bounds = await self._log.bounds(EVENTS, 0)
                offset, end = bounds.start, bounds.end

    async def _first(self, since: datetime | int | None, end: int) -> int:
        match since:
            case None:
                return end
            case datetime():
                found = await self._log.offset_at(EVENTS, 0, first_ms(since))
                return end if found is None else found
            case _:
                bounds = await self._log.bounds(EVENTS, 0)
                return min(max(since, bounds.start), bounds.end)


@asynccontextmanager
async def opened_watch(
    kafka: KafkaSettings, sealing: SealingSettings
) -> AsyncGenerator[Watch, None]:
    """Provide the events of the log that settings name.

    Raises:
        ConfigurationError: It cannot be read.
    """
    log, keys = ReadOnlyKafkaLog(kafka), data_keys(sealing)
    try:
        await log.start()
        yield Watch(log, Signatures(kafka.keys), keys)
    finally:
        await log.stop()
        await keys.stop()
