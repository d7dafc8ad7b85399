"""The check that the log is still the one that the catalog was built from.

Hides how the two are compared: by the log's identity, and by the last record that was applied,
which is read again. Another record there means another topic, or one that lost its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.catalog.progress import fingerprint
from app.errors import RecordDamagedError, RecordGoneError
from app.log import EVENTS, ErasableLog, Position

if TYPE_CHECKING:
    from app.catalog.progress import Progress
    from app.feed.dead_letters import DeadLetters
    from app.log import ReadableLog


class OtherLogError(Exception):
    """The log does not hold the events that the catalog was built from."""


async def require_same_log(log: ReadableLog, letters: DeadLetters, progress: Progress) -> None:
    """Check that the catalog with this progress was built from this very log.

    Raises:
        OtherLogError: It was built from another one, or is new.
        RecordGoneError: The last event applied is gone, and events after it may be.
        RecordMissingError: The log ends before the last event applied.
        RecordDamagedError: The last event applied is damaged, and no operator has had it skipped.
        LogUnavailableError: The log did not answer.
    """
    if not progress.identity:
        raise OtherLogError("the catalog is new")
    if progress.identity != log.identity:
        raise OtherLogError("the catalog was built from another log")
    if progress.last_offset < 0:
        return
    try:
        last = await log.read(EVENTS, Position(0, progress.last_offset))
    except RecordGoneError:
        if await _lacks_nothing(log, progress):
            return
        raise
    except RecordDamagedError as error:
        # It was applied before it was damaged, and nothing is left to compare it with.
        if await letters.skipped(error.offset) is None:
            raise
        return
    if fingerprint(last.record) != progress.last_fingerprint:
        raise OtherLogError("the last event applied is another one now")


async def _lacks_nothing(log: ReadableLog, progress: Progress) -> bool:
    """Tell whether the last event applied may be gone without another event being lost."""
    bounds = await log.bounds(EVENTS, 0)
    if isinstance(log, ErasableLog) and progress.last_offset >= bounds.start:
        # Erased with its image, just before the deletion was to be applied.
        return True
    # Every trimmed event had been applied; a new topic would start at 0.
    return progress.last_offset < bounds.start <= progress.next_offset
