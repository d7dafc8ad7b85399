"""The background consumer: follows `image-events` and fills the catalog.

Hides how the catalog stays exact. Each batch of events is applied in one transaction with the
offset that follows it, so that a restart resumes there, neither skipping nor repeating. Before it
resumes, the last record that was applied is read again: another record there means another topic,
or one that lost its end, and the catalog is filled anew from the first event.

What cannot be processed becomes a dead letter, and the feed goes on. What is damaged on every
replica stops it until an operator has it skipped. An event of a newer version
stops it for good: what it means is not known, so going on might skip a deletion.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from app.catalog.progress import Progress, fingerprint
from app.errors import (
    CatalogDamagedError,
    GatewayError,
    NewerVersionError,
    NotReadyError,
    RecordDamagedError,
    RecordGoneError,
    RecordMissingError,
)
from app.feed.dead_letters import DeadLetters, sort
from app.feed.erasure import erase_deleted
from app.feed.expiry import Expiry
from app.log import EVENTS, Batch, ErasableLog, Position

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.log import Log

logger = structlog.get_logger(__name__)

# Between attempts while the log does not answer.
_RETRY_SECONDS = 1.0
# Applying what came last takes milliseconds.
_CATCH_UP_SECONDS = 5.0
# A tail says every second or less that it is alive; this many of them missed are a standstill.
_STANDSTILL_SECONDS = 5.0


class _OtherLogError(Exception):
    """The log does not hold what the catalog was built from."""


@dataclass(slots=True)
class _State:
    progress: Progress
    caught_up_once: bool = False
    goal: int = 0  # the end of the topic when following it began
    moved_at: float = 0.0
    trouble: str = "the events have not been read yet"


class Feed:
    """Keeps `catalog` in step with the events in `log`, from `start` to `stop`."""

    def __init__(self, log: Log, catalog: Catalog) -> None:
        self._log = log
        self._catalog = catalog
        self._dead_letters = DeadLetters(log)
        self._expiry = Expiry(log, catalog)
        self._state = _State(Progress(""))
        self._advanced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._epoch = 0

    async def start(self) -> None:
        """Begin to follow the events, in the background."""
        self._state.progress = await self._catalog.open()
        self._task = asyncio.create_task(self._run(), name="feed")
        self._expiry.start()

    async def stop(self) -> None:
        """End what `wait_for_more` waits for, and stop following. The catalog stays open."""
        self.close_streams()
        await self._expiry.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def close_streams(self) -> None:
        """Wake everyone who follows the catalog, for the last time."""
        self._closing = True
        self._wake()

    def doubt_listing(self) -> None:
        """Report an image that has left the log: it may still be listed."""
        self._expiry.ask()

    @property
    def closing(self) -> bool:
        """Whether those who follow the catalog should end."""
        return self._closing

    @property
    def epoch(self) -> int:
        """Which build of the catalog this is: sequence numbers of another one mean nothing."""
        return self._epoch

    @property
    def sequence(self) -> int:
        """The sequence number of the newest event that may have been applied, -1 for none."""
        return self._state.progress.next_offset - 1

    @property
    def trouble(self) -> str | None:
        """Say why answers from the catalog cannot be trusted now, or None."""
        idle_seconds = asyncio.get_running_loop().time() - self._state.moved_at
        if self._state.trouble:
            return self._state.trouble
        if idle_seconds > _STANDSTILL_SECONDS:
            return f"no event could be read for {idle_seconds:.0f} seconds"
        return None

    def require_caught_up(self) -> None:
        """Check that every event was applied once since the start.

        Raises:
            NotReadyError: It was not: a deletion might be unknown here.
        """
        if not self._state.caught_up_once:
            raise NotReadyError(f"The gateway is not ready: {self.trouble or 'it catches up'}.")

    async def caught_up(self) -> None:
        """Wait until everything is applied that was in the log at the time of the call.

        Raises:
            NotReadyError: That took too long.
        """
        bounds = await self._log.bounds(EVENTS, 0)
        if not await self.applied_within(bounds.end - 1, _CATCH_UP_SECONDS):
            raise NotReadyError(f"The gateway is behind: {self.trouble or 'it catches up'}.")

    async def applied_within(self, offset: int, seconds: float) -> bool:
        """Wait so long at most until the event at `offset` is applied, and tell whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._applied(offset)
        return self._is_applied(offset)

    async def wait_for_more(self) -> None:
        """Wait until something was applied since the call, or the feed closes."""
        if not self._closing:
            await self._advanced.wait()

    async def _applied(self, offset: int) -> None:
        while not self._is_applied(offset):
            await self._advanced.wait()

    def _is_applied(self, offset: int) -> bool:
        return self._state.caught_up_once and self._state.progress.next_offset > offset

    async def _run(self) -> None:
        while True:
            try:
                if await self._follow():
                    continue
            except NewerVersionError as error:
                logger.error("feed_stopped", reason=error.detail)  # noqa: TRY400
                self._state.caught_up_once = False
                self._state.trouble = _clause(error)
                return
            except GatewayError as error:
                trouble = f"the events cannot be read: {_clause(error)}"
                if trouble != self._state.trouble:
                    logger.warning(
                        "feed_interrupted", reason=error.detail, cause=repr(error.__cause__)
                    )
                self._state.trouble = trouble
            # Whatever it is, following the events must go on, and readiness must say it.
            except Exception as error:
                logger.exception("feed_failed")
                self._state.trouble = f"applying the events fails ({type(error).__name__})"
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> bool:
        """Follow the events as long as they fit the catalog; True means: again, at once."""
        try:
            await self._check_log()
            start, bounds = self._state.progress.next_offset, await self._log.bounds(EVENTS, 0)
            self._state.goal = bounds.end
            if not self._state.caught_up_once:
                # Where there is nothing to apply, a tail says so only at its first heartbeat.
                await self._apply(Batch((), start, bounds.end))
            async with aclosing(self._log.tail(EVENTS, 0, start)) as tail:
                async for batch in tail:
                    await self._apply(batch)
        except RecordDamagedError as error:
            await self._pass_over(error)
        except CatalogDamagedError as error:
            # Before anyone asks the empty one which images are deleted.
            self._state.caught_up_once = False
            await self._catalog.discard()
            # The new file knows nothing, whatever becomes of filling it.
            self._state.progress = Progress("")
            return await self._start_over(str(error))
        except (_OtherLogError, RecordGoneError, RecordMissingError) as error:
            return await self._start_over(str(error))
        return True

    async def _check_log(self) -> None:
        """Check that the catalog was built from this very log."""
        progress = self._state.progress
        if not progress.identity:
            raise _OtherLogError("the catalog is new")
        if progress.identity != self._log.identity:
            raise _OtherLogError("the catalog was built from another log")
        if progress.last_offset >= 0:
            try:
                last = await self._log.read(EVENTS, Position(0, progress.last_offset))
            except RecordGoneError:
                bounds = await self._log.bounds(EVENTS, 0)
                if isinstance(self._log, ErasableLog) and progress.last_offset >= bounds.start:
                    # Erased with its image, a moment before the deletion was to be applied.
                    return
                if progress.last_offset < bounds.start <= progress.next_offset:
                    # Trimmed, and nothing of it was still to be applied; a new topic starts at 0.
                    return
                raise
            except RecordDamagedError as error:
                # It was applied before it was damaged, and nothing is left to compare it with.
                if await self._dead_letters.skipped(error.offset) is None:
                    raise
                return
            if fingerprint(last.record) != progress.last_fingerprint:
                raise _OtherLogError("the last event applied is another one now")

    async def _pass_over(self, damage: RecordDamagedError) -> None:
        """Go on behind a damaged batch if an operator has said so; otherwise raise `damage`."""
        next_offset = await self._dead_letters.skipped(damage.offset)
        if next_offset is None or damage.offset != self._state.progress.next_offset:
            raise damage
        bounds = await self._log.bounds(EVENTS, 0)
        logger.warning("feed_skipped", offset=damage.offset, next_offset=next_offset)
        await self._apply(Batch((), next_offset, bounds.end))

    async def _start_over(self, reason: str) -> bool:
        """Empty the catalog, unless the events that it would need are gone; tell which."""
        self._state.caught_up_once = False
        bounds = await self._log.bounds(EVENTS, 0)
        if bounds.start > 0:
            self._state.trouble = (
                f"image-events starts at offset {bounds.start}: the events before it are lost, and"
                " deletions may be among them"
            )
            return False
        logger.info("catalog_built_anew", reason=reason)
        self._state.progress = await self._catalog.reset(self._log.identity)
        self._epoch += 1
        self._wake()
        self._state.trouble = "the catalog is being built"
        return True

    async def _apply(self, batch: Batch) -> None:
        self._catalog.check()
        # A batch may be a sign of life alone: then there is nothing to wake anyone for.
        moved = batch.next_offset > self._state.progress.next_offset
        if moved:
            # Parsing a full batch takes tens of milliseconds: not on the event loop.
            events, rejected = await asyncio.to_thread(sort, batch.records)
            await self._dead_letters.write(rejected)
            await erase_deleted(self._log, self._catalog, events)
            progress = self._state.progress.after(batch)
            await self._catalog.apply(events, progress)
            self._state.progress = progress
        self._state.moved_at = asyncio.get_running_loop().time()
        # A replica that has just become the leader may say that the end comes earlier.
        end = max(batch.end, self._state.goal)
        if self._state.progress.next_offset >= end:
            if not self._state.caught_up_once or self._state.trouble:
                logger.info("feed_caught_up", sequence=self.sequence)
                self._expiry.ask()
                moved = True
            self._state.caught_up_once, self._state.trouble = True, ""
        elif not self._state.caught_up_once:
            self._state.trouble = (
                f"{end - self._state.progress.next_offset} events are still to be applied"
            )
        if moved:
            self._wake()

    def _wake(self) -> None:
        self._advanced.set()
        self._advanced = asyncio.Event()


def _clause(error: GatewayError) -> str:
    """Return what an error says without its full stop, to stand among other reasons."""
    return error.detail.removesuffix(".")
