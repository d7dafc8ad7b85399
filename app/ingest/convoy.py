"""The images of a batch on their way into the log: in the order of its parts, and together.

Hides which records share an append. While one is under way, the records that are ready gather, and
are appended by the next; nobody waits for a timer. An image is published once the one before it has
handed over its head or failed, so that images are announced in the order in which they were sent.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.log import Append, Record


class Convoy:
    """Images that are published together, by `append`."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._gatherings: dict[str, _Gathering] = {}
        self._last = asyncio.Event()
        self._last.set()

    def place(self) -> Place:
        """Return the place of the next image."""
        before, self._last = self._last, asyncio.Event()
        return Place(self, before, self._last)

    def add(
        self, topic: str, records: Sequence[Record], deadline: float
    ) -> asyncio.Future[list[Position]]:
        """Let records be appended with the next ones; see `Log.append`."""
        gathering = self._gatherings.get(topic)
        if gathering is None:
            gathering = self._gatherings[topic] = _Gathering(self._append, topic)
        return gathering.add(records, deadline)


class Place:
    """The place of one image."""

    def __init__(self, convoy: Convoy, before: asyncio.Event, passed: asyncio.Event) -> None:
        self._convoy = convoy
        self._before = before
        self._passed = passed

    async def turn(self) -> None:
        """Wait until the image may be published."""
        await self._before.wait()

    async def append(
        self, topic: str, records: Sequence[Record], deadline: float
    ) -> list[Position]:
        """Append records together with those of other images; see `Log.append`."""
        appended = self._convoy.add(topic, records, deadline)
        self.leave()
        return await appended

    def leave(self) -> None:
        """Let the next image be published."""
        self._passed.set()


@dataclass(frozen=True, slots=True)
class _Waiting:
    records: Sequence[Record]
    deadline: float
    appended: asyncio.Future[list[Position]]


class _Gathering:
    """The records for one topic: those in the append that is under way, and those after it."""

    def __init__(self, append: Append, topic: str) -> None:
        self._append = append
        self._topic = topic
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None

    def add(self, records: Sequence[Record], deadline: float) -> asyncio.Future[list[Position]]:
        appended: asyncio.Future[list[Position]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(records, deadline, appended))
        if self._work is None:
            self._work = asyncio.create_task(self._run())
        return appended

    async def _run(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._append_group(group)
        finally:
            self._work = None

    async def _append_group(self, group: list[_Waiting]) -> None:
        records = [record for each in group for record in each.records]
        # The last one's: an image that waited is no reason to give up those that came after it.
        deadline = max(each.deadline for each in group)
        outcomes: Sequence[object]
        error: Exception | None = None
        try:
            outcomes = await self._append(self._topic, records, deadline)
        except OutcomeUnknownError as unknown:
            outcomes, error = unknown.outcomes or (unknown,) * len(records), unknown
        # Whatever it is, each of those that wait gets it.
        except Exception as failed:  # noqa: BLE001
            outcomes, error = (failed,) * len(records), failed
        at = 0
        for each in group:
            own = outcomes[at : at + len(each.records)]
            at += len(each.records)
            _settle(each.appended, own, error)


def _settle(
    appended: asyncio.Future[list[Position]],
    outcomes: Sequence[object],
    error: Exception | None,
) -> None:
    """Resolve a future by the outcomes of its own records, some of an append that failed."""
    if appended.done():
        # Its task was cancelled.
        return
    positions = [each for each in outcomes if isinstance(each, Position)]
    if len(positions) == len(outcomes):
        appended.set_result(positions)
    else:
        appended.set_exception(_failure(outcomes, error))


def _failure(outcomes: Sequence[object], error: Exception | None) -> BaseException:
    """Return an error of its own for each that waits: two tasks cannot raise one."""
    if all(isinstance(each, NotWrittenError) for each in outcomes):
        refused = NotWrittenError("The log did not accept the records.")
        refused.__cause__ = error
        return refused
    if not isinstance(error, OutcomeUnknownError):
        failed = RuntimeError("An append of several images failed.")
        failed.__cause__ = error
        return failed
    unknown = OutcomeUnknownError(error.detail, outcomes, error.settled)
    unknown.__cause__ = error.__cause__
    return unknown
