"""Edits of the stored data: erasing, trimming, committing cursors.

Hides how an edit is divided into transactions, so that none holds the writer for long, and that a
failed edit can be repeated.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from app.errors import LogUnavailableError, NotWrittenError, OutcomeUnknownError
from app.log.sqlite import rows
from app.log.sqlite.write import Write
from app.log.sqlite.writer import GROUP_BYTES, is_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from sqlite3 import Connection

    from app.log import Position
    from app.log.sqlite.writer import Writer

Result = TypeVar("Result")

# So many records of the largest size fill a transaction.
_ERASED_AT_ONCE = 8


class Edits:
    """Edits through `writer`, each transaction within `timeout_seconds`.

    An edit that the log does not confirm in time raises `LogUnavailableError`.
    """

    def __init__(self, writer: Writer, timeout_seconds: float, max_record_bytes: int) -> None:
        self._writer = writer
        self._timeout_seconds = timeout_seconds
        self._max_record_bytes = max_record_bytes

    async def erase(self, topic: str, positions: Sequence[Position]) -> None:
        """Overwrite the bytes of records, in the database and in its write-ahead log."""
        for first in range(0, len(positions), _ERASED_AT_ONCE):
            group = positions[first : first + _ERASED_AT_ONCE]
            await self._perform(
                partial(rows.erase, topic=topic, positions=group),
                size_bytes=len(group) * self._max_record_bytes,
                scrubs=True,
            )

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Make the records below `before` unreadable, then remove their bytes step by step."""
        await self._perform(
            partial(rows.move_start, topic=topic, partition=partition, start=before)
        )
        sweep = partial(rows.sweep, topic=topic, partition=partition, size_bytes=GROUP_BYTES)
        while await self._perform(sweep, size_bytes=GROUP_BYTES, scrubs=True):
            pass

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Store a cursor's offset."""
        await self._perform(
            partial(rows.commit, cursor=cursor, topic=topic, partition=partition, offset=offset)
        )

    async def _perform(
        self,
        apply: Callable[[Connection], Result],
        *,
        size_bytes: int = 0,
        scrubs: bool = False,
    ) -> Result:
        write = Write(apply, size_bytes, scrubs)
        try:
            return await self._writer.perform(write, self._timeout_seconds, is_failed)
        except (NotWrittenError, OutcomeUnknownError) as error:
            raise LogUnavailableError(error.detail) from error
