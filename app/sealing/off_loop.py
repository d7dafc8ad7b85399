"""Sealing and opening off the event loop, where that is worth it.

Hides from which size on: where it would hold the loop for longer than a thread costs. AES-GCM takes
0.11 ms a megabyte on a CPU with instructions for it, and some thirty times as long without; so this
CPU's speed is measured once. A thread costs 0.05 ms on an idle machine, and 0.2 on a busy one.
"""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from app.sealing.envelope import seal_part
from app.sealing.wrapped_key import DATA_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_HELD_SECONDS = 0.0002
# Enough to be told from the cost of the call, which is 2 µs.
_SAMPLE_BYTES = 65_536
_SAMPLES = 5


async def off_loop(size_bytes: int, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Return what `work` returns, which seals or opens so many bytes: in a thread if many."""
    if size_bytes > loop_bytes():
        return await asyncio.to_thread(work, *args, **options)
    return work(*args, **options)


@cache
def loop_bytes() -> int:
    """Return how many bytes are sealed or opened on the loop; measured at the first call."""
    sample, best = memoryview(bytes(_SAMPLE_BYTES)), float("inf")
    for number in range(_SAMPLES):
        started = time.perf_counter()
        seal_part(bytes(DATA_KEY_BYTES), number, sample, b"")
        best = min(best, time.perf_counter() - started)
    return int(_SAMPLE_BYTES * _HELD_SECONDS / best)
