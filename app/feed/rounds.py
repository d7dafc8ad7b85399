"""The rounds in which a reader follows the catalog, and the facts that it finds.

Hides how a reader is woken without a queue of its own: it waits for any change, then reads the
catalog from where it stopped. A slow reader holds nobody up, and no fact is lost or repeated.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from app.catalog.facts import Fact
    from app.feed.feed import Feed
    from app.feed.pages import Pages


class Rounds:
    """An iterator over the reader's rounds, until the feed closes or is stopped.

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
        self._advanced: asyncio.Event | None = None
        self.wake_at = math.inf

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bool:
        has_changed = self._advanced is None or await self._wait(self._advanced)
        if self._feed.closing or self._feed.is_stopped:
            raise StopAsyncIteration
        # Before the reader looks: nothing that is applied from here on is missed.
        self._advanced = self._feed.advanced(self._owner, self._source)
        return has_changed

    async def _wait(self, advanced: asyncio.Event) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self.wake_at if self.wake_at < math.inf else None):
                await advanced.wait()
        return advanced.is_set()


def facts_after(
    feed: Feed,
    pages: Pages,
    sequence: int,
    ping_seconds: float,
    owner: str | None = None,
    source: str | None = None,
) -> AsyncGenerator[Sequence[Fact], None]:
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
) -> AsyncGenerator[Sequence[Fact], None]:
    clock = asyncio.get_running_loop().time
    rounds = Rounds(feed, *wanted)
    rounds.wake_at = clock() + ping_seconds
    async for has_changed in rounds:
        if not has_changed:
            yield ()
            rounds.wake_at = clock() + ping_seconds
        while feed.epoch == epoch and (page := await pages.after(sequence, *wanted)):
            yield page
            sequence, rounds.wake_at = page[-1].sequence, clock() + ping_seconds
            if feed.closing:
                return
        if feed.epoch != epoch:
            return
