"""A token bucket, kept as one number: when it will be full.

Hides that nothing is filled. A bucket of a rate holds what the rate allows in its window; taking
moves the time at which it is full by what the rate needs for as much, and a bucket that is full
further than a window from now is in debt. (The generic cell rate algorithm, ITU-T I.371.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """An allowed rate.

    Args:
        per_second: Units a second.
        window_seconds: How many seconds' worth a full bucket holds.
    """

    per_second: float
    window_seconds: float

    @property
    def quota(self) -> int:
        """What a full bucket holds."""
        return math.floor(self.per_second * self.window_seconds)


class Bucket:
    """A bucket of a rate, full at first. `now` is in seconds that only grow."""

    __slots__ = ("_full_at", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._full_at = -math.inf

    def take(self, units: float, now: float) -> None:
        """Take units, into debt where there are not so many."""
        self._full_at = max(self._full_at, now) + units / self._rate.per_second

    def wait_seconds(self, units: float, now: float) -> float:
        """Return how long it takes until so many units are there; 0 if they are."""
        until_full = max(self._full_at - now, 0.0) + units / self._rate.per_second
        return max(until_full - self._rate.window_seconds, 0.0)

    def left(self, now: float) -> int:
        """Return how many whole units are there."""
        seconds = self._rate.window_seconds - max(self._full_at - now, 0.0)
        return math.floor(max(seconds, 0.0) * self._rate.per_second)

    def full_in(self, now: float) -> float:
        """Return in how many seconds it is full."""
        return max(self._full_at - now, 0.0)
