"""Pages of facts, read for those who follow the catalog.

Hides that readers who stand at the same place share one query, as all do whom an event wakes; and
that of those who are far behind only a few read at a time, one page each in turn, so that a
hundred replays leave the event loop and the catalog to others.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from app.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.catalog.catalog import Catalog
    from app.catalog.facts import Fact
    from app.feed.feed import Feed

# Facts read, encoded and sent in one go: 1.4 ms of the event loop where no JSON is in the cache.
PAGE = 20
# The catalog has four readers: two are left for queries about one image.
_AT_ONCE = 2


class Pages:
    """Reads facts of `catalog`, which `feed` fills."""

    def __init__(self, feed: Feed, catalog: Catalog) -> None:
        self._feed = feed
        self._catalog = catalog
        # First come, first served: after each page, a reader stands behind those that wait.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._readings: Readings[Sequence[Fact]] = Readings()

    async def after(
        self, sequence: int, owner: str | None = None, source: str | None = None
    ) -> Sequence[Fact]:
        """Return the first facts above `sequence` in order; none if it is the newest.

        With an `owner`, only those of its images; with a `source`, only those of images from there.

        Raises:
            CatalogDamagedError: The file of the catalog is damaged.
        """
        if self._feed.sequence - sequence <= PAGE:
            return await self._shared(sequence, owner, source)
        async with self._turns:
            return await self._shared(sequence, owner, source)

    async def _shared(self, sequence: int, owner: str | None, source: str | None) -> Sequence[Fact]:
        # With the progress: a query that began before the newest fact may not have found it.
        key = (self._feed.epoch, self._feed.sequence, sequence, owner, source)
        read = partial(self._catalog.facts, sequence, PAGE, owner, source)
        return await self._readings.once(key, read)
