"""Whether the records of an image are still in the log.

Hides who is asked. Retention removes the beginning of a partition, and a chunk may leave before its
head does. For an image that is cached, what `Expiry` learned lately is enough: its answer is ten
seconds late at most, and no broker is asked for what needs none. For any other the log is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.errors import RecordMissingError
from app.log import IMAGES
from app.records.image import UnfitRecordError

if TYPE_CHECKING:
    from app.feed.expiry import Expiry
    from app.log import Position, ReadableLog
    from app.records.image import Head


class Retained:
    """Compares images with the starts of the partitions in `log`, or with what `expiry` knows."""

    def __init__(self, log: ReadableLog, expiry: Expiry) -> None:
        self._log = log
        self._expiry = expiry

    def lately(self, where: Position, head: Head) -> bool | None:
        """Tell whether the log had all records of an image lately; None if nobody has looked."""
        starts = self._expiry.known
        if starts is None:
            return None
        for each in (where, *_first_chunks(head)):
            start = starts.get(each.partition)
            if start is None:
                return None
            if each.offset < start:
                return False
        return True

    async def now(self, head: Head) -> bool:
        """Tell whether the log has all chunks of an image.

        Raises:
            UnfitRecordError: One is in a partition that does not exist.
            LogUnavailableError: The log does not answer now.
        """
        if not head.chunks:
            return True
        firsts = _first_chunks(head)
        count = self._log.partitions(IMAGES)
        known = [each.partition for each in firsts if each.partition < count]
        try:
            bounds = await asyncio.gather(*(self._log.bounds(IMAGES, each) for each in known))
            starts = {partition: each.start for partition, each in zip(known, bounds, strict=True)}
            # Partitions that were added since the start, in order: the first that is not there
            # ends it, so that no list makes the log look at more than there are, and one.
            for each in firsts[len(known) :]:
                starts[each.partition] = (await self._log.bounds(IMAGES, each.partition)).start
        except RecordMissingError as error:
            raise UnfitRecordError("a chunk in a partition that the topic does not have") from error
        return all(each.offset >= starts[each.partition] for each in firsts)


def _first_chunks(head: Head) -> list[Position]:
    """Return the first chunk of each partition, which leaves first, in their order."""
    lowest: dict[int, Position] = {}
    for chunk in sorted(head.chunks):
        lowest.setdefault(chunk.partition, chunk)
    return list(lowest.values())
