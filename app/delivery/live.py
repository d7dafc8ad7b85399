"""The newest picture, for everyone who watches.

Hides that a picture is read from the log once, and resized once, however many watch it; all
that are held share the budget of `held`. There is no queue: a watcher that is slow, or requests few
frames, gets the picture that is newest when it comes back, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from app.access.principal import ANYONE
from app.codec.tasks import Still
from app.delivery.held import Picture
from app.errors import GatewayError
from app.feed.rounds import Rounds
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.catalog.catalog import Catalog
    from app.catalog.images import CatalogImage
    from app.codec.pool import CodecPool
    from app.delivery.delivery import Delivery
    from app.delivery.find import Finder
    from app.delivery.held import HeldPictures
    from app.feed.feed import Feed
    from app.imaging.limits import ImageLimits

logger = structlog.get_logger(__name__)

# The longest side of a picture that was no JPEG; also the longest side that can be requested.
MAX_SIDE = 1280
# Sides are rounded up to a multiple of this, so that watchers share resized pictures.
_SIDE_STEP = 160
# Chromium and Safari show a picture when the next one begins (Chromium issue 527446, still so in
# version 156): without a repetition, a watcher sees the last but one until another comes.
_REPEAT_SECONDS = 0.5
# Of some sources at once, each the newest and the one before it: some watchers come just before an
# image arrives or goes. The bytes have a budget of their own.
_CACHED_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture to show: a whole JPEG, and the id of the image that it shows."""

    image_id: str
    picture: Picture


# The pictures of one image, by the longest side; None for the image as it is stored.
_Made = dict[int | None, asyncio.Task[Picture]]


class LivePictures:
    """Yields the newest picture to each watcher whenever there is a newer one."""

    def __init__(
        self,
        finder: Finder,
        delivery: Delivery,
        catalog: Catalog,
        feed: Feed,
        pool: CodecPool,
        limits: ImageLimits,
        held: HeldPictures,
    ) -> None:
        self._finder = finder
        self._delivery = delivery
        self._catalog = catalog
        self._feed = feed
        self._pool = pool
        self._limits = limits
        self._held = held
        self._made: OrderedDict[str, _Made] = OrderedDict()

    async def watch(
        self,
        max_side: int | None = None,
        max_fps: float | None = None,
        owner: str | None = None,
        source: str | None = None,
    ) -> AsyncGenerator[Frame, None]:
        """Yield the newest picture, then each newest one that follows, until the feed closes.

        A picture that no other has followed for half a second comes once more, for browsers.

        Args:
            max_side: The longest side of a picture, in pixels; rounded up to a multiple of 160.
            max_fps: How many pictures a second at the most.
            owner: The owner of the pictures; None for everyone's.
            source: The source of the pictures; None for every one.
        """
        side = min(-(-max_side // _SIDE_STEP) * _SIDE_STEP, MAX_SIDE) if max_side else None
        pause_seconds = 1 / max_fps if max_fps else 0.0
        clock = asyncio.get_running_loop().time
        due = repeat_at = 0.0
        seen, shown = (self._feed.epoch, -1), None
        with closing(Rounds(self._feed, owner, source)) as rounds:
            async for _ in rounds:
                now = clock()
                if now >= due and (newest := await self._newer_than(seen, owner, source)):
                    seen = (self._feed.epoch, newest.sequence)
                    if shown := await self._frame(newest, side):
                        yield shown
                    due, repeat_at = clock() + pause_seconds, clock() + _REPEAT_SECONDS
                elif shown is not None and now >= repeat_at:
                    # Deleted, or expired, it is no longer listed.
                    if shown.picture.is_there and await self._catalog.image(shown.image_id):
                        yield shown
                    # A waiting watcher holds no picture: at low rates, each would hold its own.
                    shown = None
                rounds.wake_at = min(
                    repeat_at if shown is not None else math.inf, due if due > now else math.inf
                )

    async def _newer_than(
        self, seen: tuple[int, int], owner: str | None, source: str | None
    ) -> CatalogImage | None:
        """Return the newest image, unless it was seen in this epoch of the feed already."""
        newest = next(iter(await self._catalog.newest(1, owner=owner, source=source)), None)
        return newest if newest and (self._feed.epoch, newest.sequence) > seen else None

    async def _frame(self, image: CatalogImage, side: int | None) -> Frame | None:
        made = self._made.setdefault(image.id, {})
        while len(self._made) > _CACHED_IMAGES:
            # Watchers that still send that picture keep it alive, and nobody else does.
            self._made.popitem(last=False)
        if side is None and image.info.content_type != ImageFormat.JPEG.content_type:
            side = MAX_SIDE
        try:
            return Frame(image.id, await self._once(made, image.id, side))
        except GatewayError as error:
            # Deleted just now, or unreadable for now: the next picture comes.
            logger.warning("live_picture_skipped", image_id=image.id, reason=error.detail)
            return None

    async def _once(self, made: _Made, image_id: str, side: int | None) -> Picture:
        """Return the picture as stored, or no larger than `side`; the first caller makes it."""
        if side not in made or _is_gone(made[side]):
            made[side] = asyncio.create_task(self._make(made, image_id, side))
            made[side].add_done_callback(partial(_forget_failure, made, side))
        return await asyncio.shield(made[side])

    async def _make(self, made: _Made, image_id: str, side: int | None) -> Picture:
        if side is None:
            # The catalog has said that the watcher may see it.
            image = await self._finder.find(image_id, ANYONE)
            pieces = await self._delivery.open(image, 0, image.info.content_length)
            return self._held.hold(b"".join([piece async for piece in pieces]))
        stored = await self._once(made, image_id, None)
        return self._held.hold(await self._pool.run(Still(self._limits, side), stored.jpeg))


def _is_gone(task: asyncio.Task[Picture]) -> bool:
    """Tell whether a picture was made, and taken away since."""
    if not task.done() or task.cancelled() or task.exception():
        return False
    return not task.result().is_there


def _forget_failure(made: _Made, side: int | None, task: asyncio.Task[Picture]) -> None:
    """Let the next caller try again; those who wait may all have left."""
    if task.cancelled() or task.exception():
        del made[side]
