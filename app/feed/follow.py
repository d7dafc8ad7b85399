"""The background consumer: it follows `image-events` and fills the catalog.

Hides how the catalog stays exact. Each batch of events is applied in one transaction with the
offset that follows it, so that a restart resumes there, neither skipping nor repeating. If the log
is not the one that the catalog was built from (`same_log`), the catalog is rebuilt from the first
event.

A record that cannot be processed becomes a dead letter, and the follower goes on. A record that is
damaged on every replica, or an event of a newer version, stops it: without its meaning, going on
might miss a deletion. An operator can have the record skipped in any case: the follower looks for
such a letter between its attempts.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from app.catalog.progress import Progress
from app.errors import (
    CatalogDamagedError,
    GatewayError,
    NewerVersionError,
    RecordDamagedError,
    RecordGoneError,
    RecordMissingError,
)
from app.events.event import ImageDeleted, ImageStored, UnknownEvent
from app.events.opening import open_all
from app.events.rewrapped import ImageRewrapped
from app.events.sequenced import sort
from app.events.trust import Trust
from app.feed.dead_letters import DeadLetters
from app.feed.erasure import erase_deleted
from app.feed.locked import LockedEvents
from app.feed.same_log import OtherLogError, require_same_log
from app.log import EVENTS, Batch, ErasableLog
from app.records.image_keys import ImageKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.events.event import Event
    from app.events.sequenced import SequencedEvent, Sorted
    from app.feed.changes import Changed
    from app.feed.expiry import Expiry
    from app.feed.feed import Feed
    from app.log import ReadableLog

logger = structlog.get_logger(__name__)

# Such a batch is parsed in less time than it takes to hand it to a thread and back.
_SMALL_BATCH_EVENTS = 4
_SMALL_EVENT_BYTES = 8192
# Between attempts while the log does not answer.
_RETRY_SECONDS = 1.0


class Follower:
    """Keeps `catalog` in step with the events in `log`, from `start` to `stop`.

    It reports its progress to `feed`, and asks `expiry` to compare once everything is applied. It
    judges records by `trust`, and tells it where signing began. It opens what is sealed by `keys`.
    """

    def __init__(
        self,
        log: ReadableLog,
        catalog: Catalog,
        feed: Feed,
        expiry: Expiry,
        trust: Trust | None = None,
        keys: ImageKeys | None = None,
        *,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._log = log
        # Checked once: `isinstance` takes 0.1 ms for a protocol.
        self._erasable_log = log if isinstance(log, ErasableLog) else None
        self._catalog = catalog
        self._feed = feed
        self._expiry = expiry
        self._retry_seconds = retry_seconds
        self._trust = trust or Trust()
        self._keys = keys or ImageKeys(log)
        self._dead_letters = DeadLetters(log, self._trust.signatures)
        self._locked = LockedEvents(log, catalog, self._trust, self._keys, self._dead_letters)
        # Whether applying a batch has failed, for which one of its records may be the reason.
        self._has_failed = False
        # The end of the topic when following it began.
        self._goal = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the catalog, and begin to follow the events in the background."""
        self._feed.progress = await self._catalog.open()
        self._trust.start = await self._catalog.signing_start()
        self._task = asyncio.create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """End the readers' rounds, and stop following. The catalog stays open."""
        self._feed.close_streams()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            try:
                if await self._follow():
                    continue
            except NewerVersionError as error:
                if self._feed.stop(_clause(error)):
                    logger.error("feed_stopped", reason=error.detail)  # noqa: TRY400
            except GatewayError as error:
                if self._feed.report(f"the events cannot be read: {_clause(error)}"):
                    logger.warning(
                        "feed_interrupted", reason=error.detail, cause=repr(error.__cause__)
                    )
            # After any error, following the events must go on, and readiness must report it.
            except Exception as error:
                logger.exception("feed_failed")
                self._has_failed = True
                self._feed.report(f"applying the events fails ({type(error).__name__})")
            await asyncio.sleep(self._retry_seconds)

    async def _follow(self) -> bool:
        """Follow the events as long as they fit the catalog; return True to go on at once."""
        try:
            await require_same_log(self._log, self._dead_letters, self._feed.progress)
            start, bounds = self._feed.progress.next_offset, await self._log.bounds(EVENTS, 0)
            self._goal = bounds.end
            if not self._feed.has_caught_up_once:
                # Where there is nothing to apply, a tail says so only at its first heartbeat.
                await self._apply(Batch((), start, bounds.end))
            async with aclosing(self._log.tail(EVENTS, 0, start)) as tail:
                async for batch in tail:
                    await self._apply(batch)
        except RecordDamagedError as error:
            await self._pass_over(error, error.offset)
        except NewerVersionError as error:
            await self._pass_over(error, self._feed.progress.next_offset)
        except CatalogDamagedError as error:
            # Before anyone asks the empty catalog which images are deleted.
            self._feed.distrust_catalog()
            await self._catalog.discard()
            # The new file knows nothing, even if filling it fails.
            self._feed.progress = Progress("")
            return await self._start_over(str(error))
        except (OtherLogError, RecordGoneError, RecordMissingError) as error:
            return await self._start_over(str(error))
        return True

    async def _pass_over(self, obstacle: GatewayError, offset: int) -> None:
        """Skip the record at `offset` if an operator has allowed it; otherwise raise `obstacle`."""
        next_offset = await self._dead_letters.skipped(offset)
        if next_offset is None or offset != self._feed.progress.next_offset:
            raise obstacle
        bounds = await self._log.bounds(EVENTS, 0)
        if next_offset > bounds.end:
            raise obstacle
        logger.warning("feed_skipped", offset=offset, next_offset=next_offset)
        await self._apply(Batch((), next_offset, bounds.end))

    async def _start_over(self, reason: str) -> bool:
        """Empty the catalog and return True, unless the events that it would need are gone."""
        self._feed.distrust_catalog()
        bounds = await self._log.bounds(EVENTS, 0)
        if bounds.start > 0:
            self._feed.report(
                f"image-events starts at offset {bounds.start}: the events before it are lost, and"
                " deletions may be among them"
            )
            return False
        logger.info("catalog_rebuilding", reason=reason)
        self._feed.start_epoch(await self._catalog.reset(self._log.identity))
        self._trust.start = None
        self._feed.report("the catalog is being built")
        return True

    async def _apply(self, batch: Batch) -> None:
        self._catalog.check()
        progress = self._feed.progress
        # A batch may only say that the log answers.
        newer, changed = None, None
        listed: Sequence[CatalogImage] = ()
        if batch.next_offset > progress.next_offset:
            if self._has_failed:
                batch = await self._without_skipped(batch)
            found = await self._sorted(batch)
            if newer := found.newer:
                batch = _before(batch, found.newer_at)
            await open_all(found, batch.records, self._keys)
            await self._dead_letters.write(found.rejected)
            if self._erasable_log is not None:
                await erase_deleted(self._erasable_log, self._catalog, found.events)
            if batch.next_offset > progress.next_offset:
                progress = progress.after(batch)
                has_moves = any(_is_move(each.event) for each in found.events)
                starts = await self._expiry.starts() if has_moves else None
                listed = await self._catalog.apply(found.events, progress, starts)
                await self._open_rewrapped(found.events)
                changed = _changed(found.events)
                self._has_failed = False
        # A replica that has just become the leader may say that the end comes earlier.
        if self._feed.advance(progress, max(batch.end, self._goal), changed, listed):
            logger.info("feed_caught_up", sequence=self._feed.sequence)
            self._expiry.ask()
        # Nobody waits for that.
        await self._catalog.scrub()
        if newer is not None:
            raise newer

    async def _sorted(self, batch: Batch) -> Sorted:
        """Parse a batch: a full one takes tens of milliseconds, so not on the event loop."""
        if _is_small(batch):
            return sort(batch.records, self._trust)
        return await asyncio.to_thread(sort, batch.records, self._trust)

    async def _open_rewrapped(self, events: Sequence[SequencedEvent]) -> None:
        """Open what was locked until now, as its key is wrapped by another one."""
        ids = [each.event.image_id for each in events if isinstance(each.event, ImageRewrapped)]
        if ids and (locked := dict(await self._catalog.locked_of(ids))):
            await self._locked.open(locked)

    async def _without_skipped(self, batch: Batch) -> Batch:
        """Return a batch that could not be applied, less what an operator has had skipped."""
        kept = []
        for record in batch.records:
            offset = record.position.offset
            if await self._dead_letters.skipped(offset) is None:
                kept.append(record)
            else:
                logger.warning("feed_skipped", offset=offset, next_offset=offset + 1)
        return Batch(tuple(kept), batch.next_offset, batch.end)


def _changed(events: Sequence[SequencedEvent]) -> set[Changed] | None:
    """Return whose images the events are about, and of which source; None if one does not say."""
    changed: set[Changed] = set()
    for each in events:
        match each.event:
            case ImageStored():
                changed.add((each.event.info.owner, each.event.info.source))
            case ImageDeleted(_, owner, source=source) if owner:
                # An earlier release did not write the source.
                changed.add((owner, source or None))
            case UnknownEvent() | ImageRewrapped():
                pass
            case _:
                return None
    return changed


def _is_move(event: Event | UnknownEvent) -> bool:
    return isinstance(event, ImageStored) and event.move is not None


def _is_small(batch: Batch) -> bool:
    return len(batch.records) <= _SMALL_BATCH_EVENTS and all(
        len(each.value or b"") <= _SMALL_EVENT_BYTES for each in batch.records
    )


def _before(batch: Batch, offset: int) -> Batch:
    records = tuple(each for each in batch.records if each.position.offset < offset)
    return Batch(records, offset, batch.end)


def _clause(error: GatewayError) -> str:
    """Return the detail of an error without its full stop, to stand among other reasons."""
    return error.detail.removesuffix(".")
