"""Changes of the catalog, and the turns in which those who wait for them are woken.

Hides the order: first come, first served, a few at a time, between which the event loop does
whatever else there is. So an event that wakes thousands holds up neither an upload nor the next
event, and a reader that comes back for a change of which not all have heard stands behind those.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# The owner and the source of an image that has changed; the source is None where it is not known,
# and empty where there is none.
Changed = tuple[str, str | None]
# The owner and the source that a reader waits for; None for all.
_Wanted = tuple[str | None, str | None]

# Woken in one go: sending an event to as many takes 0.5 ms.
_AT_ONCE = 20
# From one slice to the next. A thread that writes an upload needs the interpreter's lock some ten
# times, and waits 5 ms for it each time while the event loop is busy (docs/performance.md).
_PAUSE_SECONDS = 0.002


class Change:
    """The next change of some images, which any number may wait for.

    Attributes:
        has_happened: Whether it was announced; those who wait may not have heard of it yet.
    """

    __slots__ = ("__weakref__", "_call", "_waiting", "has_happened")

    def __init__(self, call: Callable[[Collection[asyncio.Future[None]]], None]) -> None:
        self._call = call
        self._waiting: dict[asyncio.Future[None], None] = {}
        self.has_happened = False

    def add(self, waiting: asyncio.Future[None]) -> None:
        """Have a future set in its turn, once this has happened."""
        if self.has_happened:
            self._call((waiting,))
        else:
            self._waiting[waiting] = None

    def discard(self, waiting: asyncio.Future[None]) -> None:
        """Forget a future."""
        self._waiting.pop(waiting, None)

    def happen(self) -> None:
        """Call those who wait."""
        self.has_happened = True
        self._call(self._waiting)
        self._waiting = {}


class Changes:
    """The changes that are waited for: of an owner's images, of a source's, of both, or of all."""

    def __init__(self) -> None:
        # An entry leaves with the last of those who wait for it.
        self._next: WeakValueDictionary[_Wanted, Change] = WeakValueDictionary()
        self._called: deque[asyncio.Future[None]] = deque()

    def next(self, owner: str | None = None, source: str | None = None) -> Change:
        """Return the first change after this call.

        Args:
            owner: Only changes of this owner's images count; None for all.
            source: Only changes of images of this source count; None for all.
        """
        if (change := self._next.get((owner, source))) is None:
            change = self._next[owner, source] = Change(self._call)
        return change

    def happened(self, changed: Collection[Changed] | None = None) -> None:
        """Call those who wait for changes of these images; None for everyone."""
        for wanted in list(self._next) if changed is None else self._about(changed):
            if (change := self._next.pop(wanted, None)) is not None:
                change.happen()

    def _about(self, changed: Collection[Changed]) -> set[_Wanted]:
        """Return what those want whom these changes may be about."""
        wanted: set[_Wanted] = {(None, None)}
        for owner, source in changed:
            if source is None:
                wanted.update(each for each in list(self._next) if each[0] in (owner, None))
            else:
                wanted |= {(owner, None), (None, source), (owner, source)}
        return wanted

    def _call(self, waiting: Collection[asyncio.Future[None]]) -> None:
        if waiting and not self._called:
            asyncio.get_running_loop().call_soon(self._wake_some)
        self._called.extend(waiting)

    def _wake_some(self) -> None:
        woken = 0
        while self._called and woken < _AT_ONCE:
            if not (waiting := self._called.popleft()).done():
                waiting.set_result(None)
                woken += 1
        if self._called:
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._wake_some)
