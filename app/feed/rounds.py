"""The rounds in which a reader follows the catalog, and the facts that it finds.

Hides how a reader is woken without a queue of its own: it waits for any change, then reads the
catalog from where it stopped. A slow reader holds nobody up, and no fact is lost or repeated.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from typing import TYPE_CHECKING, Self

from app.feed.pages import Page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.feed.changes import Change
    from app.feed.feed import Feed
    from app.feed.pages import Pages


class Rounds:
    """An iterator over the reader's rounds, until the feed closes or is stopped; `close` it.

    Only changes of the images of `owner` count, unless that is None; likewise for `source`.

    A round begins at once, after each change of the catalog, and when `wake_at` has come. Each
    yields whether there was a change. An event that is applied during a round begins the next one.

    Attributes:
        wake_at: The loop time of the next round if nothing changes; the reader may set it in
            each round.
    """

    def __init__(self, feed: Feed, owner: str | None = None, source: str | None = None) -> None:
        self._feed = feed
        self._owner = owner
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._change: Change | None = None
        self.wake_at = math.inf

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bool:
        has_changed = self._change is None or await self.wait(self._change)
        if self._feed.closing or self._feed.is_stopped:
            raise StopAsyncIteration
        # Before the reader looks: nothing that is applied from here on is missed.
        self._change = self._feed.changes.next(self._owner, self._source)
        return has_changed

    def close(self) -> None:
        """Cancel what would wake the reader."""
        if self._alarm is not None:
            self._alarm.cancel()

    async def wait(self, change: Change) -> bool:
        """Wait until a change has happened, or `wake_at` has come; tell whether it has happened."""
        self._waiting = self._loop.create_future()
        change.add(self._waiting)
        self._set_alarm()
        try:
            await self._waiting
        finally:
            change.discard(self._waiting)
        return change.has_happened

    def _set_alarm(self) -> None:
        """See that it rings in time; one that rings too early is set again, and costs nothing."""
        if self._alarm is not None:
            if self._alarm.when() <= self.wake_at:
                return
            self._alarm.cancel()
        if self.wake_at < math.inf:
            self._alarm = self._loop.call_at(self.wake_at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._waiting is None or self._waiting.done():
            return
        if self._loop.time() < self.wake_at:
            self._set_alarm()
        else:
            self._waiting.set_result(None)


def facts_after(
    feed: Feed,
    pages: Pages,
    sequence: int,
    ping_seconds: float,
    owner: str | None = None,
    source: str | None = None,
) -> AsyncGenerator[Page, None]:
    """Yield every fact above `sequence`, in order, in pages; then each one that follows.

    With an `owner`, only those of its images; with a `source`, only those of images from there.

    An empty page comes where there was no fact for `ping_seconds`. The generator ends when the feed
    closes or is stopped, or the catalog is rebuilt after this call: `sequence` means nothing then.
    """
    return _facts_after(feed, pages, sequence, ping_seconds, (owner, source), feed.epoch)


async def _facts_after(
    feed: Feed,
    pages: Pages,
    sequence: int,
    ping_seconds: float,
    wanted: tuple[str | None, str | None],
    epoch: int,
) -> AsyncGenerator[Page, None]:
    clock = asyncio.get_running_loop().time
    # What others were shown before this call may be deleted now.
    is_woken = False
    with closing(Rounds(feed, *wanted)) as rounds:
        rounds.wake_at = clock() + ping_seconds
        while not _has_ended(feed, epoch):
            page = pages.shown(sequence, *wanted) if is_woken else None
            if page is None:
                page = await pages.after(sequence, *wanted)
                if feed.epoch != epoch:
                    return
            if page.facts:
                yield page
                rounds.wake_at = clock() + ping_seconds
            sequence = page.reached
            # The end is the last change: who has missed it waits for none.
            if page.change is not None and not _has_ended(feed, epoch):
                is_woken = True
                while not await rounds.wait(page.change):
                    yield Page()
                    rounds.wake_at = clock() + ping_seconds


def _has_ended(feed: Feed, epoch: int) -> bool:
    return feed.closing or feed.is_stopped or feed.epoch != epoch
