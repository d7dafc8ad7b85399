"""The progress of the catalog, and the waiting for it.

Hides when an answer from the catalog can be trusted, and whom to wake. `Follower` reports its
progress; everyone else asks, waits, or reads the catalog in `rounds`.

An event that only a newer version understands stops the feed in front of it. The catalog then has
every earlier event and none of the later ones. Images that it lists are served, as no earlier event
deleted them; every other answer would be a guess, and is a `NotReadyError`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from app.catalog.progress import Progress
from app.errors import NotReadyError
from app.feed.changes import Changes
from app.feed.end import EventsEnd

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from app.catalog.images import CatalogImage
    from app.feed.changes import Changed
    from app.log import ReadableLog

# Those who wait for an image ask for it as soon as they are woken. An entry takes 1 KiB.
_REMEMBERED = 256
# Applying the newest events takes milliseconds.
_CATCH_UP_SECONDS = 5.0
# A tail reports at least every second that the log answers; five missed reports are a standstill.
_STANDSTILL_SECONDS = 5.0


class Feed:
    """The state of the catalog of this process, as its events in `log` are applied.

    Attributes:
        progress: How far the catalog has come.
        changes: What readers of the catalog wait for.
        epoch: The number of the catalog's build: sequence numbers of another one mean nothing.
        closing: Whether the readers of the catalog should end.
    """

    def __init__(self, log: ReadableLog, *, catch_up_seconds: float = _CATCH_UP_SECONDS) -> None:
        self._end = EventsEnd(log)
        self._catch_up_seconds = catch_up_seconds
        self._caught_up_once = False
        self._is_stopped = False
        self._trouble = "the events have not been read yet"
        self._moved_at = 0.0
        self._advanced = asyncio.Event()
        self._listed: dict[str, CatalogImage] = {}
        self.progress = Progress("")
        self.changes = Changes()
        self.epoch = 0
        self.closing = False

    @property
    def sequence(self) -> int:
        """The sequence number before that of the next event to apply, -1 for none."""
        return self.progress.next_offset - 1

    @property
    def trouble(self) -> str | None:
        """Say why answers from the catalog cannot be trusted now, or None."""
        idle_seconds = asyncio.get_running_loop().time() - self._moved_at
        if self._trouble:
            return self._trouble
        if idle_seconds > _STANDSTILL_SECONDS:
            return f"no event could be read for {idle_seconds:.0f} seconds"
        return None

    def advanced(self) -> asyncio.Event:
        """Return what is set once the catalog changes after this call, or the feed closes."""
        return self._advanced

    @property
    def has_caught_up_once(self) -> bool:
        """Whether every event was applied once since the start, so that answers are allowed."""
        return self._caught_up_once

    @property
    def is_stopped(self) -> bool:
        """Whether an event of a newer version is the next one to apply."""
        return self._is_stopped

    def require_caught_up(self) -> None:
        """Check that every event was applied once since the start, and that the feed goes on.

        Raises:
            NotReadyError: Some were not: a deletion might be unknown here.
        """
        if self._is_stopped:
            raise NotReadyError(f"The gateway is behind: {self.trouble}.")
        if not self._caught_up_once:
            raise NotReadyError(f"The gateway is not ready: {self.trouble or 'it catches up'}.")

    def require_listed(self, is_listed: bool) -> None:
        """Check that an image may be served, given whether the catalog lists it.

        Raises:
            NotReadyError: A deletion of it might be unknown here.
        """
        if not (self._is_stopped and is_listed):
            self.require_caught_up()

    async def caught_up(self) -> None:
        """Wait until every event is applied that was in the log at the time of the call.

        Raises:
            NotReadyError: That took too long.
        """
        end = await self._end.ask()
        if not await self.applied_within(end - 1, self._catch_up_seconds):
            raise NotReadyError(f"The gateway is behind: {self.trouble or 'it catches up'}.")

    async def applied_within(self, offset: int, seconds: float) -> bool:
        """Wait up to `seconds` until the event at `offset` is applied; tell whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_applied(offset):
                    await self._advanced.wait()
        return self._is_applied(offset)

    def listed(self, image_id: str) -> CatalogImage | None:
        """Return an image that was listed just now; None if it was not, or is not remembered."""
        return self._listed.get(image_id)

    def close_streams(self) -> None:
        """Wake every reader of the catalog, for the last time."""
        self.closing = True
        self._wake()

    # Only the follower calls the methods below.

    def advance(
        self,
        progress: Progress,
        end: int,
        changed: Collection[Changed] | None = None,
        listed: Sequence[CatalogImage] = (),
    ) -> bool:
        """Note that the log answers, and how far the catalog is; wake the readers if it has moved.

        Args:
            progress: How far the catalog has come.
            end: The end of the events, as last seen.
            changed: Owners and sources of the images that have changed; None where that is not
                known.
            listed: The images that were listed by the last events.

        Returns:
            Whether the catalog has just caught up, for the first time or after trouble.
        """
        has_moved = progress.next_offset > self.progress.next_offset
        self.progress = progress
        self._moved_at = asyncio.get_running_loop().time()
        if self._caught_up_once:
            self._remember(listed)
        remaining, has_caught_up = end - progress.next_offset, False
        if has_moved:
            self._is_stopped = False
        if remaining <= 0:
            has_caught_up = not self._caught_up_once or bool(self._trouble)
            self._caught_up_once, self._trouble = True, ""
        elif not (self._caught_up_once or self._is_stopped):
            self._trouble = f"{remaining} events are still to be applied"
        if has_caught_up:
            self._wake()
        elif has_moved:
            self._wake(changed)
        return has_caught_up

    def report(self, trouble: str) -> bool:
        """Set the reason why events are not applied, and tell whether it is new."""
        is_news = trouble != self._trouble
        self._trouble = trouble
        return is_news

    def stop(self, trouble: str) -> bool:
        """Note that only a newer version understands the next event; tell whether it is news."""
        is_news = self.report(trouble) or not self._is_stopped
        self._is_stopped = True
        if is_news:
            # Readers must not wait for facts that do not come.
            self._wake()
        return is_news

    def distrust_catalog(self) -> None:
        """Have nothing answered from the catalog until every event is applied again."""
        self._caught_up_once = self._is_stopped = False

    def start_epoch(self, progress: Progress) -> None:
        """Begin the next build of the catalog, which is empty."""
        self.progress = progress
        self._listed.clear()
        self.epoch += 1
        self._wake()

    def _remember(self, listed: Sequence[CatalogImage]) -> None:
        self._listed.update((each.id, each) for each in listed[-_REMEMBERED:])
        for oldest in list(islice(self._listed, max(len(self._listed) - _REMEMBERED, 0))):
            del self._listed[oldest]

    def _is_applied(self, offset: int) -> bool:
        return self._caught_up_once and self.progress.next_offset > offset

    def _wake(self, changed: Collection[Changed] | None = None) -> None:
        self._advanced.set()
        self._advanced = asyncio.Event()
        self.changes.happened(changed)
