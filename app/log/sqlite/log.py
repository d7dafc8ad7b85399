"""The embedded log: records in one SQLite database, for one process on one machine.

Hides: how the asynchronous protocol meets SQLite's blocking calls. `writer` decides when something
is durable, `readers` who answers, `wakeups` when a tail looks again, `rows` how a record lies in
its table, `database` what the file is. Only the `sqlite3` of the standard library is used.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from app.data_folder import LOCK_WAIT_SECONDS, FolderLock
from app.errors import LogUnavailableError, NotWrittenError, OutcomeUnknownError, RecordMissingError
from app.log import (
    EVENTS,
    IMAGES,
    MAX_PARTITIONS,
    REJECTS,
    Batch,
    Bounds,
    Fetched,
    Position,
    Record,
)
from app.log.sqlite import checkup, database, rows
from app.log.sqlite.readers import Readers
from app.log.sqlite.wakeups import Wakeups, is_set
from app.log.sqlite.writer import GROUP_BYTES, Write, Writer

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path
    from sqlite3 import Connection

    from app.log.findings import Finding

Result = TypeVar("Result")

BATCH_BYTES = 1_048_576  # as a tail of Kafka has it
HEARTBEAT_SECONDS = 1.0  # a feed that hears nothing for five of these is at a standstill
STOP_SECONDS = 10.0  # docs/operations.md adds it to what comes before
_ERASED_AT_ONCE = 8  # records of the largest size fill a transaction


class SqliteLog:
    """A `Log` in a folder that belongs to one process at a time.

    A topic keeps the partitions it was made with: `image_partitions` can raise their number and
    never lowers it, as the ids of images hold partitions. A log is started once.

    Attributes:
        path: The database file.
    """

    def __init__(
        self,
        directory: Path,
        *,
        image_partitions: int = 12,
        append_timeout_seconds: float = 15.0,
        read_timeout_seconds: float = 10.0,
        max_record_bytes: int = 1_048_576,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
    ) -> None:
        if not 1 <= image_partitions <= MAX_PARTITIONS:
            raise ValueError(f"image_partitions must be 1 to {MAX_PARTITIONS}")
        self.path = directory / database.DATABASE_NAME
        self._partitions = Counter({IMAGES: image_partitions, EVENTS: 1, REJECTS: 1})
        self._append_timeout_seconds = append_timeout_seconds
        self._max_record_bytes = max_record_bytes
        self._identity = ""
        self._ends: rows.Ends = {}
        self._writer = Writer(self.path)
        self._readers = Readers(self.path, read_timeout_seconds)
        self._wakeups = Wakeups()
        self._heartbeat_seconds = heartbeat_seconds
        self._folder_lock = FolderLock(directory, lock_wait_seconds)
        self._held = ExitStack()
        self._opening = threading.Lock()  # stop waits for a start that was cancelled

    @property
    def identity(self) -> str:
        """A random UUID, made with the database."""
        return self._identity

    @property
    def trouble(self) -> str | None:
        """Why the last transaction or checkpoint failed, or None."""
        return self._writer.trouble

    async def examine(self) -> list[Finding]:
        """Look at the database; see `checkup`."""
        return await asyncio.to_thread(checkup.examine, self.path)

    async def start(self) -> None:
        """Lock the folder, create or check the database, and start the threads.

        Raises:
            ConfigurationError: The folder or the database cannot be used; the detail says why.
        """
        await asyncio.to_thread(self._open)

    async def stop(self) -> None:
        """Commit what was appended, within `STOP_SECONDS`, and release the folder."""
        await asyncio.to_thread(self._close)
        self._wakeups.all()

    def max_record_bytes(self, topic: str) -> int:
        """Return the limit for `Record.size_bytes`, the same for every topic."""
        self._check(topic)
        return self._max_record_bytes

    def partitions(self, topic: str) -> int:
        """Return how many partitions `topic` has."""
        self._check(topic)
        return self._partitions[topic]

    def deadline(self) -> float:
        """Return the loop time at which an append that begins now gives up."""
        return asyncio.get_running_loop().time() + self._append_timeout_seconds

    def require_writable(self) -> None:
        """Only a write shows whether the disk takes one again: none is refused beforehand."""

    async def append(
        self, topic: str, records: Sequence[Record], deadline: float | None = None
    ) -> list[Position]:
        """Append the records in one transaction: all of them or none; see `Log.append`.

        Raises:
            ValueError: A record is over the limit, or its partition does not exist.
            NotWrittenError: None will ever appear.
            OutcomeUnknownError: All or none will appear. A transaction was under way at the
                deadline, or SQLite could not tell whether its commit reached the disk.
        """
        placed = [(self._place(topic, record), record) for record in records]
        write = Write(
            partial(rows.append, ends=self._ends, topic=topic, records=placed),
            size_bytes=sum(record.size_bytes for record in records),
        )
        try:
            seconds = (deadline or self.deadline()) - asyncio.get_running_loop().time()
            return await self._writer.perform(
                write, max(seconds, 0), partial(self._announce, topic)
            )
        except NotWrittenError as error:
            raise NotWrittenError(error.detail) from error
        except OutcomeUnknownError as error:
            outcomes = [error] * len(records)
            raise OutcomeUnknownError(error.detail, outcomes, error.settled) from error

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record at random; see `Log.read`."""
        self._check(topic)
        if not 0 <= position.partition < self._partitions[topic]:
            raise RecordMissingError(f"There is no partition {position.partition}.")
        return Fetched(await self._readers.run(partial(rows.read, topic=topic, position=position)))

    async def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch]:
        """Follow a partition; a commit of this process wakes it at once; see `Log.tail`."""
        self._check(topic, partition)
        while True:
            appended = self._wakeups.next(topic, partition)
            step = partial(rows.step, topic=topic, partition=partition, start=start)
            batch = await self._readers.run(partial(step, size_bytes=BATCH_BYTES))
            if batch.next_offset == start and await is_set(appended, self._heartbeat_seconds):
                continue
            start = batch.next_offset
            yield batch

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the bounds of a partition."""
        self._check(topic, partition)
        return await self._readers.run(partial(rows.bounds, topic=topic, partition=partition))

    async def erase(self, topic: str, positions: Sequence[Position]) -> None:
        """Overwrite the bytes of records, in the database and in its write-ahead log.

        On return they are in no file. Positions without a record are passed over.

        Raises:
            LogUnavailableError: Not all were erased in time; erase them again.
        """
        self._check(topic)
        there = [p for p in positions if 0 <= p.partition < self._partitions[topic]]
        for first in range(0, len(there), _ERASED_AT_ONCE):
            group = there[first : first + _ERASED_AT_ONCE]
            await self._change(
                partial(rows.erase, topic=topic, positions=group),
                size_bytes=len(group) * self._max_record_bytes,
                scrubs=True,
            )

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Make records unreadable at once, then remove their bytes step by step.

        Raises:
            ValueError: `before` lies beyond the end.
            LogUnavailableError: Not all were removed in time; trim again.
        """
        bounds = await self.bounds(topic, partition)
        if before > bounds.end:
            raise ValueError(f"{before} lies beyond the end, {bounds.end}")
        await self._change(partial(rows.move_start, topic=topic, partition=partition, start=before))
        sweep = partial(rows.sweep, topic=topic, partition=partition, size_bytes=GROUP_BYTES)
        while await self._change(sweep, size_bytes=GROUP_BYTES, scrubs=True):
            pass

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Remember `offset` under the name of the cursor."""
        self._check(topic, partition)
        await self._change(
            partial(rows.commit, cursor=cursor, topic=topic, partition=partition, offset=offset)
        )

    async def committed(self, cursor: str, topic: str, partition: int) -> int | None:
        """Return what was last committed under the name, or None."""
        self._check(topic, partition)
        return await self._readers.run(
            partial(rows.committed, cursor=cursor, topic=topic, partition=partition)
        )

    def _open(self) -> None:
        with self._opening:
            self._held.enter_context(self._folder_lock)
            try:
                self._identity = database.prepare(self.path, self._partitions)
                with closing(database.connect(self.path)) as connection:
                    self._ends = rows.load_ends(connection)
                self._partitions = Counter(topic for topic, _ in self._ends)
                self._readers.start()
                self._writer.start()
            except BaseException:
                self._release()
                raise

    def _close(self) -> None:
        with self._opening:
            self._release()

    def _release(self) -> None:
        ended = self._writer.stop(STOP_SECONDS)
        self._readers.stop()
        # A writer that hangs in the disk still uses the folder: the kernel unlocks it in the end.
        if ended:
            self._held.close()

    def _check(self, topic: str, partition: int = 0) -> None:
        if topic not in self._partitions:
            raise ValueError(f"unknown topic {topic}")
        if not 0 <= partition < self._partitions[topic]:
            raise ValueError(f"{topic} has no partition {partition}")

    def _place(self, topic: str, record: Record) -> int:
        self._check(topic, record.partition or 0)
        if record.size_bytes > self._max_record_bytes:
            raise ValueError(
                f"{record.size_bytes} bytes are over the limit, {self._max_record_bytes}"
            )
        if record.partition is None:
            return zlib.crc32(record.key) % self._partitions[topic]
        return record.partition

    async def _change(
        self,
        apply: Callable[[Connection], Result],
        *,
        size_bytes: int = 0,
        scrubs: bool = False,
    ) -> Result:
        try:
            return await self._writer.perform(
                Write(apply, size_bytes, scrubs), self._append_timeout_seconds, _failed
            )
        except (NotWrittenError, OutcomeUnknownError) as error:
            raise LogUnavailableError(error.detail) from error

    def _announce(self, topic: str, appended: Future[list[Position]]) -> None:
        if not _failed(appended):
            self._wakeups.appended(topic, appended.result())


def _failed(future: Future[Result]) -> bool:
    """Look at the outcome, so that asyncio does not report it when nobody waits any longer."""
    return future.cancelled() or future.exception() is not None
