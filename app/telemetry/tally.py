"""Counts what may happen a thousand times a second, so that it is logged once a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 1.0


class Tally:
    """Says when to log a line, for each reason.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, reason: str) -> int:
        """Count one; return how many there were since the last line if one is due, and else 0."""
        now, count = self._clock(), self._counts.get(reason, 0) + 1
        if now - self._logged_at.get(reason, float("-inf")) < _SECONDS:
            self._counts[reason] = count
            return 0
        self._logged_at[reason], self._counts[reason] = now, 0
        return count
