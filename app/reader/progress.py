"""The progress of a reader's group: what was handled, and what is committed of it.

Hides that commits run beside the handling of the next image, one at a time, and that the newest one
stands for those before it. What is lost with a process is handled again, never passed over.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from app.errors import LogUnavailableError, TurnLostError

if TYPE_CHECKING:
    from app.log.kafka.member import Member

logger = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
# A mark's text: the sequence number and the image of the fact before it.
_TEXT = re.compile(r"(0|[1-9][0-9]{0,14}):([a-z2-7]{32})")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the order of events.

    Everything below `offset` is behind the reader. The last fact there was `sequence`, about
    `image_id`, which tells this log from one that took its place; -1 and empty if it is not known.
    """

    offset: int
    sequence: int = -1
    image_id: str = ""

    @property
    def text(self) -> str:
        """The metadata that is committed beside the offset."""
        return f"{self.sequence}:{self.image_id}" if self.image_id else ""


def mark_of(offset: int, text: str) -> Mark:
    """Return the mark that was committed; another program's text says nothing."""
    found = _TEXT.fullmatch(text)
    return Mark(offset, int(found[1]), found[2]) if found else Mark(offset)


class Progress:
    """Commits the marks of `member`'s group.

    Attributes:
        committed: The mark that was committed last, by this member or, as it was when this member's
            turn began, by another; None if there is none.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._turn = 0
        self._wanted: Mark | None = None
        self._task: asyncio.Task[None] | None = None
        self.committed: Mark | None = None

    async def take_over(self, turn: int) -> bool:
        """Begin a turn; tell whether nobody has committed since this member did.

        Raises:
            LogUnavailableError: The brokers do not say what is committed.
        """
        await self._end()
        found = await self._member.committed()
        mark = mark_of(*found) if found else None
        is_own = bool(self._turn) and mark == self.committed
        self.committed, self._turn = mark, turn
        if is_own:
            # What was handled while the group was divided.
            self._go_on()
        else:
            self._wanted = None
        return is_own

    def reached(self, mark: Mark) -> None:
        """Note that everything before a mark was handled; it is committed soon."""
        self._wanted = mark
        self._go_on()

    async def save(self) -> None:
        """Wait until what was handled is committed.

        Raises:
            TurnLostError: Another member may have the turn.
            LogUnavailableError: The brokers do not confirm it.
        """
        await self._end()
        await self._commit()

    async def stop(self) -> None:
        """Commit what was handled, if that is possible now."""
        try:
            await self.save()
        except (TurnLostError, LogUnavailableError) as error:
            logger.warning("reader_not_committed", reason=error.reason)

    def _go_on(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_up(), name="commits")

    async def _keep_up(self) -> None:
        while self._wanted != self.committed and self._wanted is not None:
            try:
                await self._commit()
            except TurnLostError:
                # The next turn begins where this one ended, or where another member did.
                return
            except LogUnavailableError as error:
                logger.warning("reader_not_committed", reason=error.reason)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _commit(self) -> None:
        mark = self._wanted
        if mark is not None and mark != self.committed:
            await self._member.commit(self._turn, mark.offset, mark.text)
            self.committed = mark

    async def _end(self) -> None:
        """End the commits that run in the background."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
