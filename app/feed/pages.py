"""Pages of facts, read for those who follow the catalog.

Hides that a page is read, and made into what is sent, once for all who stand at the same place, as
all do whom an event wakes; and that of those who are far behind only a few read at a time, one page
each in turn, so that a hundred replays leave the event loop and the catalog to others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from app.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.catalog.catalog import Catalog
    from app.catalog.facts import Fact
    from app.feed.changes import Change
    from app.feed.feed import Feed

# Facts read, encoded and sent in one go: 1.4 ms of the event loop where no JSON is in the cache.
PAGE = 20
# The catalog has four readers: two are left for queries about one image.
_AT_ONCE = 2
# Thousands hear of an event within tenths of a second. By then an image may be deleted, of which
# the next event tells.
_SHOWN_SECONDS = 1.0
# A full page with its JSON takes 40 KB.
_SHOWN = 64


# Where a reader stands: the epoch, the sequence number it has reached, owner and source.
_Place = tuple[int, int, str | None, str | None]


@dataclass(slots=True)
class Page:
    """Facts in a row; none where nothing has happened.

    Attributes:
        facts: In order.
        reached: All facts up to this sequence number are in it, or were before it.
        change: What was the next change when it was read; None if there were more facts already.
    """

    facts: Sequence[Fact] = ()
    reached: int = -1
    change: Change | None = None
    _made: bytes | None = field(default=None, init=False)

    def made(self, make: Callable[[Sequence[Fact]], bytes]) -> bytes:
        """Return what is made of the facts, which the first caller does for all."""
        if self._made is None:
            self._made = make(self.facts)
        return self._made


class Pages:
    """Reads facts of `catalog`, which `feed` fills."""

    def __init__(
        self, feed: Feed, catalog: Catalog, clock: Callable[[], float] = monotonic
    ) -> None:
        self._feed = feed
        self._catalog = catalog
        self._clock = clock
        # First come, first served: after each page, a reader stands behind those that wait.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._readings: Readings[Page] = Readings()
        # With the time until which it is shown, the newest last.
        self._shown: OrderedDict[_Place, tuple[Page, float]] = OrderedDict()

    async def after(
        self, sequence: int, owner: str | None = None, source: str | None = None
    ) -> Page:
        """Return the first facts above `sequence` in order; none if it is the newest.

        With an `owner`, only those of its images; with a `source`, only those of images from there.

        Raises:
            CatalogDamagedError: The file of the catalog is damaged.
        """
        if self._feed.sequence - sequence <= PAGE:
            return await self._shared(sequence, owner, source)
        async with self._turns:
            return await self._shared(sequence, owner, source)

    def shown(
        self, sequence: int, owner: str | None = None, source: str | None = None
    ) -> Page | None:
        """Return the newest facts above `sequence` as they were read for others just now, if so.

        There may be newer ones by now, of which `change` of the page tells.
        """
        found = self._shown.get((self._feed.epoch, sequence, owner, source))
        return found[0] if found is not None and self._clock() < found[1] else None

    async def _shared(self, sequence: int, owner: str | None, source: str | None) -> Page:
        # With the progress: a query that began before the newest fact may not have found it.
        key = (self._feed.epoch, self._feed.sequence, sequence, owner, source)
        return await self._readings.once(key, partial(self._read, sequence, owner, source))

    async def _read(self, sequence: int, owner: str | None, source: str | None) -> Page:
        # Before the query: nothing that is applied from here on is missed.
        change, applied = self._feed.changes.next(owner, source), self._feed.sequence
        key = (self._feed.epoch, sequence, owner, source)
        facts = await self._catalog.facts(sequence, PAGE, owner, source)
        newest = facts[-1].sequence if facts else sequence
        if len(facts) == PAGE:
            return Page(facts, newest)
        page = Page(facts, max(newest, applied), change)
        # Who has reached all there is waits for a change, and then wants another page.
        if page.reached > sequence:
            self._show(key, page)
        return page

    def _show(self, key: _Place, page: Page) -> None:
        self._shown[key] = page, self._clock() + _SHOWN_SECONDS
        self._shown.move_to_end(key)
        if len(self._shown) > _SHOWN:
            self._shown.popitem(last=False)
