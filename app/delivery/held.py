"""Pictures in memory for those who watch, up to a number of bytes.

Hides whose picture is taken away when they are too many: the one made longest ago, as who watches
properly has newer ones by now. A picture counts once, however many hold it, and stops counting when
nobody holds it any more. The newest one stays even if it alone is larger than the budget.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import structlog

from app.errors import OverloadedError
from app.telemetry.metrics import PICTURES_DROPPED
from app.telemetry.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger(__name__)


class Picture:
    """A JPEG that may be taken away while it is sent."""

    def __init__(self, jpeg: bytes) -> None:
        self._jpeg: bytes | None = jpeg
        self.length = len(jpeg)

    @property
    def is_there(self) -> bool:
        """Whether it was not taken away."""
        return self._jpeg is not None

    @property
    def jpeg(self) -> bytes:
        """The bytes; not to be kept.

        Raises:
            OverloadedError: It was taken away.
        """
        if self._jpeg is None:
            raise OverloadedError("Too many pictures are held by clients that do not read.")
        return self._jpeg

    def take_away(self) -> None:
        """Free the memory."""
        self._jpeg = None


class HeldPictures:
    """The pictures that somebody holds, at most `max_bytes` together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._made = 0
        # From the oldest to the newest.
        self._held: dict[int, weakref.ref[Picture]] = {}
        self._dropped = Tally()

    @property
    def held_bytes(self) -> int:
        """The memory that all of them use."""
        return self._bytes

    def hold(self, jpeg: bytes) -> Picture:
        """Return a new picture, which older ones make room for."""
        picture, number = Picture(jpeg), self._made
        self._made += 1
        self._held[number] = weakref.ref(picture, self._forgetting(number, picture.length))
        self._bytes += picture.length
        while self._bytes > self._max_bytes and len(self._held) > 1:
            self._drop(next(iter(self._held)))
        return picture

    def _forgetting(self, number: int, length: int) -> Callable[[object], None]:
        def forget(_: object) -> None:
            if self._held.pop(number, None) is not None:
                self._bytes -= length

        return forget

    def _drop(self, number: int) -> None:
        if (picture := self._held.pop(number)()) is None:
            return
        self._bytes -= picture.length
        picture.take_away()
        PICTURES_DROPPED.inc()
        if count := self._dropped.add(""):
            logger.warning("live_picture_dropped", bytes=picture.length, count=count)
