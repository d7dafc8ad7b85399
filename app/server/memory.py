"""Memory that was freed, given back to the system.

Hides malloc_trim(3) of glibc, which Python does not wrap; other allocators (musl, macOS) have none,
and need none. glibc keeps what is freed between two blocks that are still used: after uploads of up
to 15 MB, 8 at once, 45 MB for ever. Giving that back takes 3 ms, without anything to give 0.1 ms.

Measured and rejected: `MALLOC_ARENA_MAX=2` gave back nothing, and a fixed `MALLOC_MMAP_THRESHOLD_`
(128 KB, 512 KB) cost uploads 40 to 60 % more CPU in single runs, as each block is mapped and zeroed
anew.
"""

from __future__ import annotations

import asyncio
import ctypes

from app.background import BackgroundJob

# Under load the pages come back at once; zeroing 100 MB takes 30 ms.
_PERIOD_SECONDS = 10.0


def giving_back() -> BackgroundJob | None:
    """Return the job that gives memory back, not started; None where the allocator needs none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return None

    async def give_back() -> None:
        # Without the GIL, as ctypes calls.
        await asyncio.to_thread(trim, 0)

    return BackgroundJob(give_back, "memory", _PERIOD_SECONDS, rest_seconds=0)
