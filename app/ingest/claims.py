"""The uses of upload links: whether one is left, before an upload and after it is stored.

Hides that the log decides, by its order. On one gateway the uploads by a link are published in
turn, so that none is stored which could have been known to be too many; two gateways may each store
one for the last use, and the second in the log is never shown.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from app.errors import (
    CatalogDamagedError,
    LinkExpiredError,
    LinkUsedError,
    OutcomeUnknownError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from app.catalog.catalog import Catalog
    from app.feed.feed import Feed
    from app.records.claim import Claim

# An upload that begins in time has as long to arrive; its claim is forgotten long after that.
_GRACE_SECONDS = 3_600
# Applying an event takes milliseconds; a feed that takes longer is not ready.
_APPLY_SECONDS = 5.0


class Claims:
    """Counts the uses of links in `catalog`, as `feed` fills it.

    Args:
        catalog: It has the claims that count.
        feed: Says when an event is applied.
        clock: The time, in seconds since 1970.
    """

    def __init__(
        self, catalog: Catalog, feed: Feed, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog = catalog
        self._feed = feed
        self._clock = clock
        # They exist as long as someone holds or awaits them.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def require_left(self, claim: Claim | None) -> None:
        """Check that the link has a use left, as far as is known here.

        Raises:
            LinkUsedError: It has none.
        """
        if claim is not None and await self._catalog.uses_of(claim.link) >= claim.uses:
            raise _used(claim)

    @asynccontextmanager
    async def turn(self, claim: Claim | None) -> AsyncGenerator[None, None]:
        """Let the uploads by a link be published one after another, while it has uses left.

        Raises:
            LinkUsedError: It has none.
            LinkExpiredError: The upload took too long.
        """
        if claim is None:
            yield
            return
        turn = self._turns.get(claim.link)
        if turn is None:
            turn = self._turns[claim.link] = asyncio.Lock()
        async with turn:
            if self._clock() >= claim.expires_at + _GRACE_SECONDS:
                raise LinkExpiredError("The link expired long before the image had arrived.")
            await self.require_left(claim)
            yield

    async def require_counted(self, claim: Claim | None, image_id: str, event_offset: int) -> None:
        """Wait until it is known whether the claim of an image counts, whose event is there.

        Raises:
            LinkUsedError: Others came first: the image is never shown.
            OutcomeUnknownError: It is not known in time.
        """
        if claim is None:
            return
        unknown = OutcomeUnknownError(
            "The image is written; whether the link had a use left for it is not known yet."
        )
        if not await self._feed.applied_within(event_offset, _APPLY_SECONDS):
            raise unknown
        try:
            if await self._catalog.is_announced(image_id):
                return
        except CatalogDamagedError as error:
            raise unknown from error
        raise _used(claim)


def _used(claim: Claim) -> LinkUsedError:
    images = "one image" if claim.uses == 1 else f"{claim.uses:,} images"
    return LinkUsedError(f"The link was for {images}, and is used up.")
