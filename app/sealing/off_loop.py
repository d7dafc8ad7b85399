"""Sealing and opening off the event loop, where that is worth it.

Hides from which size on: AES-GCM takes 0.11 ms a megabyte here, without the GIL, and a thread costs
0.05 ms; on a CPU without instructions for AES it takes some thirty times as long.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

# 0.03 ms here, one elsewhere.
_LOOP_BYTES = 262_144


async def off_loop(size_bytes: int, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Return what `work` returns, which seals or opens so many bytes: in a thread if many."""
    if size_bytes > _LOOP_BYTES:
        return await asyncio.to_thread(work, *args, **options)
    return work(*args, **options)
