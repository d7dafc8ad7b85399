"""The opening of events that came before the key of their image could be had.

Hides when that is tried: periodically, for some images in turn, and for all as soon as the key of
one is there. So a gateway heals without a rebuild when it is given a key, or a key service is back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from app.background import BackgroundJob
from app.errors import GatewayError, RecordGoneError, RecordMissingError
from app.events.opening import BROKEN, is_sealed, opened
from app.events.sequenced import sort
from app.feed.dead_letters import DeadLetters
from app.log import EVENTS, Position
from app.telemetry.metrics import LOCKED_IMAGES

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.events.sequenced import SequencedEvent
    from app.events.trust import Trust
    from app.log import ReadableLog, StoredRecord
    from app.records.image_keys import ImageKeys

logger = structlog.get_logger(__name__)

# A look at the catalog where nothing is locked; else a page of events is read.
_PERIOD_SECONDS = 2.0
# Between two rounds, however many clients request images that are locked.
_REST_SECONDS = 1.0
# Events read at once, some 2 KB each.
_PAGE = 100


class Unlocking:
    """Opens the locked images in `catalog`, whose events are in `log`, from `start` to `stop`."""

    def __init__(
        self,
        log: ReadableLog,
        catalog: Catalog,
        trust: Trust,
        keys: ImageKeys,
        *,
        period_seconds: float = _PERIOD_SECONDS,
        rest_seconds: float = _REST_SECONDS,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._trust = trust
        self._keys = keys
        self._dead_letters = DeadLetters(log, trust.signatures)
        self._job = BackgroundJob(self._try, "unlocking", period_seconds, rest_seconds)
        # Behind the last that was tried.
        self._after = -1
        self._locked = 0

    def start(self) -> None:
        """Begin, in the background, at once: there may be other keys than before."""
        self._job.start()
        self._job.ask()

    async def stop(self) -> None:
        """Stop."""
        await self._job.stop()

    def ask(self) -> None:
        """Try soon."""
        self._job.ask()

    async def _try(self) -> None:
        try:
            while await self._open_some():
                pass
            self._report(await self._catalog.count_locked())
        except GatewayError as error:
            logger.info("unlocking_failed", reason=error.detail, cause=repr(error.__cause__))
        # It must go on, whatever the catalog's disk does; the follower meets it too.
        except Exception:
            logger.exception("unlocking_failed")

    def _report(self, locked: int) -> None:
        LOCKED_IMAGES.set(locked)
        if locked and not self._locked:
            logger.warning("images_locked", count=locked)
        elif self._locked and not locked:
            logger.info("images_unlocked")
        self._locked = locked

    async def _open_some(self) -> bool:
        """Try the next locked images; tell whether others are worth trying now."""
        locked = dict(await self._catalog.locked(self._after, _PAGE))
        if not locked:
            # From the first one again, in the next round.
            self._after = -1
            return False
        self._after = max(locked)
        records = await asyncio.gather(*map(self._read, locked))
        there = [each for each in records if each is not None]
        # Where the topic was replaced just now, others may be there.
        sealed = [each for each in sort(there, self._trust).events if is_sealed(each)]
        stated = [locked[each.sequence] for each in sealed]
        found = []
        for before, each in zip(sealed, await opened(sealed, self._keys, stated), strict=True):
            if each is None:
                await self._reject(before, there)
            else:
                found.append(each)
        await self._catalog.unlock(found)
        return any(each.is_gone or not each.is_locked for each in found)

    async def _reject(self, event: SequencedEvent, records: list[StoredRecord]) -> None:
        await self._catalog.reject(event)
        letters = {each: BROKEN for each in records if each.position.offset == event.sequence}
        await self._dead_letters.write(letters)

    async def _read(self, sequence: int) -> StoredRecord | None:
        try:
            return (await self._log.read(EVENTS, Position(0, sequence))).record
        except (RecordGoneError, RecordMissingError):
            # Deleted just now, or the topic was replaced: the follower takes notice.
            return None
