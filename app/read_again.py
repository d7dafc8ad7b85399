"""Files that change while the gateway runs: secrets and certificates of an orchestrator.

Hides when they are read: again, if they are others than at the last look. What cannot be used is
logged once, and the last that could stays in use: a certificate and its key are often not replaced
at the same moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from app.errors import ConfigurationError
from app.file_stamp import stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from app.file_stamp import Stamp

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# So soon a key that was removed from a file stops working, where it is used many times a second.
_RECENT_SECONDS = 1.0


class ReadAgain(Generic[T]):
    """A value that is made of files, and made again when one of them is another.

    Args:
        files: The files.
        make: Makes the value; raises a `ConfigurationError` if a file cannot be used.
        clock: Seconds that only grow.

    Attributes:
        last: The value of the files as they last could be used.
    """

    def __init__(
        self,
        files: Sequence[Path],
        make: Callable[[], T],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._make = make
        self._clock = clock
        self._looked = clock()
        self._complained = False
        self._state = self._look()
        self.last = make()

    def recent(self) -> T:
        """Return the value as `current` did a second ago at most; blocks once a second."""
        if self._clock() - self._looked < _RECENT_SECONDS:
            return self.last
        return self.current()

    def current(self) -> T:
        """Return the value of the files as they are now, or as they last could be used. Blocks."""
        self._looked = self._clock()
        state = self._look()
        if state != self._state:
            try:
                self.last = self._make()
            except ConfigurationError as error:
                if not self._complained:
                    self._complained = True
                    logger.warning("file_unusable", reason=error.detail)
            else:
                logger.info("file_changed", files=[str(file) for file in self._files])
                self._state, self._complained = state, False
        return self.last

    def _look(self) -> list[Stamp]:
        return [stamp_of(file) for file in self._files]
