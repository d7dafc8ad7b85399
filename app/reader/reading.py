"""The order in which a reader comes to images: its place among the facts, and what it passes over.

Hides when a place is still one of this log. A topic that was replaced, or lost its end, has other
facts: the group then begins again with the first one, as repeating is better than passing over.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from app.errors import (
    CatalogDamagedError,
    GatewayError,
    ImageGoneError,
    ImageNotFoundError,
    LogUnavailableError,
    NewerVersionError,
    NotReadyError,
    RecordDamagedError,
    TurnLostError,
)
from app.log import EVENTS
from app.reader.image import Image
from app.reader.options import first_ms
from app.reader.progress import Mark, Progress

if TYPE_CHECKING:
    from app.catalog.facts import Fact
    from app.delivery.stored_image import StoredImage
    from app.log import ReadableLog
    from app.log.kafka.member import Member
    from app.reader.options import Start
    from app.reader.view import View

logger = structlog.get_logger(__name__)

# Facts read in one go.
_PAGE = 200
# Between attempts while the log does not answer, and looks at what announces no change.
_RETRY_SECONDS = 1.0
# Members join within milliseconds of each other when their group is divided again.
_DIVISION_SECONDS = 3.0


class Reading:
    """Finds the next image of `view`, while `member` has the turn.

    Args:
        log: The log of the view.
        view: What is known of it.
        member: The membership in the group.
        start: Where a group begins that has committed nothing.
        shard: Number and count of the shards, or None.
        source: The source of the images, or None for every one.
        follow: Whether to wait at the end of the log.
    """

    def __init__(
        self,
        log: ReadableLog,
        view: View,
        member: Member,
        start: Start,
        shard: tuple[int, int] | None,
        source: str | None = None,
        *,
        follow: bool,
    ) -> None:
        self._log = log
        self._view = view
        self._member = member
        self._start = start
        self._shard = shard
        self._source = source
        self._follow = follow
        self._progress = Progress(member)
        # The turn and the build of the catalog in which the place below was found.
        self._turn = 0
        self._epoch = -1
        self._is_placed = False
        # Everything before it is behind the reader; its part before `_handed` was handed out.
        self._place = Mark(0)
        self._handed: Mark | None = None
        # The next facts, and whether there were none when they were looked for.
        self._page: deque[Fact] = deque()
        self._is_drained = False
        # The end of the events when reading began.
        self._end: int | None = None
        self._trouble: str | None = None

    async def next(self) -> Image | None:
        """Return the next image; None at the end of the log if it is not followed.

        Raises:
            ConfigurationError: The brokers do not allow the group.
            NewerVersionError: Only a newer version understands what comes next.
        """
        while True:
            try:
                await self._take_place()
                if (image := await self._step()) is not None:
                    return image
                if not self._follow and self._is_at_the_end:
                    return None
            except (LogUnavailableError, NotReadyError, CatalogDamagedError) as error:
                if error.reason != self._trouble:
                    logger.warning("reader_waits", reason=error.reason)
                    self._trouble = error.reason
                await self._member.await_change(_RETRY_SECONDS)

    def handled(self) -> None:
        """Note that every image that was handed out was handled."""
        if self._handed is not None:
            self._progress.reached(self._handed)
            self._handed = None

    async def save(self) -> None:
        """Wait until what was handled is committed.

        Raises:
            TurnLostError, LogUnavailableError: It was not.
        """
        if self._turn != self._member.turn:
            try:
                # The group may only have been divided again.
                async with asyncio.timeout(_DIVISION_SECONDS):
                    if not await self._keep_place(await self._member.await_turn()):
                        raise TurnLostError
            except TimeoutError as error:
                raise TurnLostError from error
        await self._progress.save()

    async def stop(self) -> None:
        """Commit what was handled, if that is possible now."""
        await self._progress.stop()

    @property
    def end(self) -> int | None:
        """The sequence number behind the last event when reading began; None before that."""
        return self._end

    @property
    def _is_at_the_end(self) -> bool:
        return self._is_drained and self._end is not None and self._place.offset >= self._end

    async def _take_place(self) -> None:
        """Wait for the turn and the newest facts, and find the place in them.

        Raises:
            GatewayError: See `next`.
        """
        turn = await self._member.await_turn()
        if not self._view.feed.is_stopped:
            # A deletion that was acknowledged before now is known.
            await self._view.feed.caught_up()
        await self._keep_place(turn)
        if self._end is None:
            self._end = (await self._log.bounds(EVENTS, 0)).end

    async def _keep_place(self, turn: int) -> bool:
        """Find the place in a turn; tell whether it is still the one that it was."""
        if turn != self._turn:
            # Where nobody else had a turn since, the place is still this member's.
            self._is_placed &= await self._progress.take_over(turn)
            self._turn = turn
        was_placed = self._is_placed
        if not was_placed:
            committed, self._handed = self._progress.committed, None
            await self._go_to(committed or await self._first(), is_new=committed is None)
        elif self._epoch != self._view.feed.epoch:
            await self._go_to(self._place, is_new=False)
        return was_placed

    async def _go_to(self, place: Mark, *, is_new: bool) -> None:
        epoch = self._view.feed.epoch
        if not (is_new or await self._is_of_this_log(place)):
            logger.warning("reader_log_replaced", group_offset=place.offset)
            place, is_new, self._end = Mark(0), True, None
        self._page.clear()
        self._place, self._epoch, self._is_placed = place, epoch, True
        if is_new:
            # So that a crash before the first image does not move where the group begins.
            self._progress.reached(place)

    async def _is_of_this_log(self, place: Mark) -> bool:
        if place.offset > (await self._log.bounds(EVENTS, 0)).end:
            return False
        if not place.image_id:
            return True
        found = await self._view.catalog.facts(place.sequence - 1, 1)
        return bool(found) and (found[0].sequence, found[0].image_id) == (
            place.sequence,
            place.image_id,
        )

    async def _first(self) -> Mark:
        """Return where a new group begins."""
        match self._start:
            case "earliest":
                return Mark(0)
            case datetime():
                since = await self._view.catalog.first_since(first_ms(self._start))
                if since is not None:
                    return Mark(since)
            case int():
                return Mark(self._start)
        return Mark((await self._log.bounds(EVENTS, 0)).end)

    async def _step(self) -> Image | None:
        """Return the next image of the facts at hand; None if there is none, after waiting."""
        feed = self._view.feed
        advanced, reached = feed.advanced(), feed.sequence
        if not self._page:
            after = self._place.offset - 1
            self._page.extend(await self._view.catalog.facts(after, _PAGE, source=self._source))
            self._is_drained = not self._page
            if self._is_drained and self._is_in_place:
                await self._wait_at(reached, advanced)
        while self._page and self._is_in_place:
            fact = self._page[0]
            image = await self._image_of(fact)
            self._page.popleft()
            self._place = Mark(fact.sequence + 1, fact.sequence, fact.image_id)
            if image is not None:
                self._trouble, self._handed = None, self._place
                return image
        return None

    @property
    def _is_in_place(self) -> bool:
        return self._member.turn == self._turn and self._view.feed.epoch == self._epoch

    async def _wait_at(self, reached: int, advanced: asyncio.Event) -> None:
        """Wait for more facts, once all up to `reached` are behind the reader."""
        if reached >= self._place.offset:
            self._place = Mark(reached + 1, self._place.sequence, self._place.image_id)
        if self._handed is None and self._place != self._progress.committed:
            # All of it was handled, or there was nothing to handle.
            self._progress.reached(self._place)
        if self._view.feed.is_stopped:
            raise NewerVersionError(f"{self._view.feed.trouble}.")
        if self._follow or not self._is_at_the_end:
            waits = [asyncio.create_task(each.wait()) for each in (advanced, self._member.changed)]
            await asyncio.wait(waits, timeout=_RETRY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            self._member.check()

    async def _image_of(self, fact: Fact) -> Image | None:
        """Return the image that a fact announces, unless it is another's or no longer there.

        The fact of a deletion announces none.
        """
        if fact.image is None or not self._is_own(fact.image_id):
            return None
        found: StoredImage | GatewayError
        try:
            found = await self._view.find(fact.image_id)
        except (ImageGoneError, ImageNotFoundError):
            return None
        except RecordDamagedError as error:
            # Not passed over in silence: its bytes are this error.
            found = error
        return Image(self._view, fact.image, found)

    def _is_own(self, image_id: str) -> bool:
        if self._shard is None:
            return True
        number, count = self._shard
        return shard_of(image_id, count) == number


def shard_of(image_id: str, count: int) -> int:
    """Return the number of the shard, of so many, that an image falls to."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") % count
