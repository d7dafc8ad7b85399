"""`SqliteLog`: records in one SQLite database, for one process on one machine.

Hides how the asynchronous protocol meets SQLite's blocking calls. `writer` decides when a `write`
is durable, `checkpoints` when the write-ahead log is copied, `readers` which thread reads,
`wakeups` when a tail reads again, `recent` what it need not read, `edits` how stored data is
changed, `partitions` where a record goes, `rows` how it is stored in its table, `database` what the
file is. Only the `sqlite3` of the standard library is used.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from app.data_folder import LOCK_WAIT_SECONDS, FolderLock
from app.errors import NotWrittenError, OutcomeUnknownError, RecordMissingError
from app.log import (
    EVENTS,
    IMAGES,
    KEYS,
    MAX_PARTITIONS,
    REJECTS,
    Batch,
    Bounds,
    Fetched,
    Position,
    Record,
)
from app.log.sqlite import checkup, database, rows
from app.log.sqlite.edits import Edits
from app.log.sqlite.partitions import Partitions
from app.log.sqlite.readers import Readers
from app.log.sqlite.recent import Recent
from app.log.sqlite.wakeups import Wakeups, is_set
from app.log.sqlite.write import Write
from app.log.sqlite.writer import Writer, is_failed

if TYPE_CHECKING:
    import sqlite3
    from asyncio import Future
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from app.log.findings import Finding

Result = TypeVar("Result")

# The size of a tail's batch on Kafka, too.
_BATCH_BYTES = 1_048_576
# A feed without a batch for five of these is at a standstill.
_HEARTBEAT_SECONDS = 1.0
# docs/operations.md adds it to the time that stopping takes before.
_STOP_SECONDS = 10.0


class SqliteLog:
    """A `Log` in a folder that belongs to one process at a time, with every opt-in protocol.

    A log is started once.

    Args:
        directory: The folder.
        image_partitions: Partitions of `images`. A higher number than before adds partitions, a
            lower one removes none, as the ids of images hold partitions.
        append_timeout_seconds: Bound for every change.
        read_timeout_seconds: Bound for every read, and for every step of a tail.
        max_record_bytes: Limit for `Record.size_bytes`.
        heartbeat_seconds: How long a tail waits at the end before an empty batch.
        lock_wait_seconds: How long to wait for another process to release the folder.

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
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
    ) -> None:
        if not 1 <= image_partitions <= MAX_PARTITIONS:
            raise ValueError(f"image_partitions must be 1 to {MAX_PARTITIONS}")
        self.path = directory / database.DATABASE_NAME
        self._partitions = Partitions({IMAGES: image_partitions, EVENTS: 1, REJECTS: 1, KEYS: 1})
        self._append_timeout_seconds = append_timeout_seconds
        self._max_record_bytes = max_record_bytes
        self._identity = ""
        self._ends: rows.Ends = {}
        self._writer = Writer(self.path)
        self._edits = Edits(self._writer, append_timeout_seconds, max_record_bytes)
        self._readers = Readers(self.path, read_timeout_seconds)
        self._wakeups = Wakeups()
        # Of the events, which the gateway follows all the time.
        self._recent = Recent()
        self._heartbeat_seconds = heartbeat_seconds
        self._folder_lock = FolderLock(directory, lock_wait_seconds)
        self._held = ExitStack()
        # `stop` waits for a start that was cancelled.
        self._opening = threading.Lock()

    @property
    def identity(self) -> str:
        """A random UUID, created with the database."""
        return self._identity

    @property
    def trouble(self) -> str | None:
        """The reason why the last transaction or checkpoint failed, or None."""
        return self._writer.trouble

    async def examine(self) -> list[Finding]:
        """Examine the database; see `checkup`."""
        return await asyncio.to_thread(checkup.examine, self.path)

    async def start(self) -> None:
        """Lock the folder, create or check the database, and start the threads.

        Raises:
            ConfigurationError: The folder or the database cannot be used; the detail says why.
        """
        await asyncio.to_thread(self._open)

    async def stop(self) -> None:
        """Commit the appends under way, within `_STOP_SECONDS`, and release the folder."""
        await asyncio.to_thread(self._close)
        self._recent.clear()
        self._wakeups.all()

    def max_record_bytes(self, topic: str) -> int:
        """Return the limit for `Record.size_bytes`, which all topics share."""
        self._partitions.check(topic)
        return self._max_record_bytes

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of `topic`."""
        return self._partitions.count(topic)

    def deadline(self) -> float:
        """Return the loop time at which an append that begins now gives up."""
        return asyncio.get_running_loop().time() + self._append_timeout_seconds

    def require_writable(self) -> None:
        """Refuse nothing beforehand: only a write shows whether the disk works again."""

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
        placed = [self._placed(topic, record) for record in records]
        write = Write(
            partial(rows.append, ends=self._ends, topic=topic, records=placed),
            size_bytes=sum(record.size_bytes for record in records),
        )
        then = partial(self._announce, topic, records)
        return (await self._perform(write, deadline, then, len(records))).positions

    async def append_pair(
        self,
        topic: str,
        record: Record,
        next_topic: str,
        following: Callable[[Position], Record],
        deadline: float | None = None,
    ) -> list[Position]:
        """Append two records in one transaction; see `PairingLog.append_pair`."""
        placed = [self._placed(topic, record)]

        def append(connection: sqlite3.Connection) -> tuple[Record, rows.Appended, rows.Appended]:
            first = rows.append(connection, self._ends, topic, placed)
            second = following(first.positions[0])
            placed_next = [self._placed(next_topic, second)]
            return second, first, rows.append(connection, self._ends, next_topic, placed_next)

        def announce(done: Future[tuple[Record, rows.Appended, rows.Appended]]) -> None:
            if not is_failed(done):
                second, first, after = done.result()
                self._wake(topic, [record], first)
                self._wake(next_topic, [second], after)

        write = Write(append, size_bytes=record.size_bytes)
        _, first, after = await self._perform(write, deadline, announce, 2)
        return [*first.positions, *after.positions]

    async def _perform(
        self,
        write: Write[Result],
        deadline: float | None,
        then: Callable[[Future[Result]], object],
        count: int,
    ) -> Result:
        """Perform a write of `count` records."""
        try:
            seconds = (deadline or self.deadline()) - asyncio.get_running_loop().time()
            return await self._writer.perform(write, max(seconds, 0), then)
        except NotWrittenError as error:
            raise NotWrittenError(error.detail) from error
        except OutcomeUnknownError as error:
            outcomes = [error] * count
            raise OutcomeUnknownError(error.detail, outcomes, error.settled) from error

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read the record at one position; see `Log.read`."""
        self._partitions.check(topic)
        if not self._partitions.has(topic, position.partition):
            raise RecordMissingError(f"There is no partition {position.partition}.")
        return Fetched(await self._readers.run(partial(rows.read, topic=topic, position=position)))

    async def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch]:
        """Follow a partition; a commit of this process wakes it at once; see `Log.tail`."""
        self._partitions.check(topic, partition)
        while True:
            appended = self._wakeups.next(topic, partition)
            batch = self._recent.after(start) if topic == EVENTS else None
            if batch is None:
                batch = await self._step(topic, partition, start)
            if batch.next_offset == start:
                if await is_set(appended, self._heartbeat_seconds):
                    continue
                # It says that the log still answers.
                batch = await self._step(topic, partition, start)
            start = batch.next_offset
            yield batch

    async def _step(self, topic: str, partition: int, start: int) -> Batch:
        step = partial(rows.step, topic=topic, partition=partition, start=start)
        return await self._readers.run(partial(step, size_bytes=_BATCH_BYTES))

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the bounds of a partition."""
        if not self._partitions.has(topic, partition):
            raise RecordMissingError(f"There is no partition {partition}.")
        return await self._readers.run(partial(rows.bounds, topic=topic, partition=partition))

    async def erase(self, topic: str, positions: Sequence[Position]) -> None:
        """Overwrite the bytes of records, in the database and in its write-ahead log.

        See `ErasableLog.erase`.
        """
        self._partitions.check(topic)
        self._recent.clear()
        known = [each for each in positions if self._partitions.has(topic, each.partition)]
        await self._edits.erase(topic, known)

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Make records unreadable at once, then remove their bytes step by step.

        See `TrimmableLog.trim`.
        """
        bounds = await self.bounds(topic, partition)
        if before > bounds.end:
            raise ValueError(f"{before} is beyond the end, {bounds.end}")
        self._recent.clear()
        await self._edits.trim(topic, partition, before)

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Store `offset` under the name of the cursor."""
        self._partitions.check(topic, partition)
        await self._edits.commit(cursor, topic, partition, offset)

    async def committed(self, cursor: str, topic: str, partition: int) -> int | None:
        """Return the offset last committed under the name, or None."""
        self._partitions.check(topic, partition)
        return await self._readers.run(
            partial(rows.committed, cursor=cursor, topic=topic, partition=partition)
        )

    def _open(self) -> None:
        with self._opening:
            self._held.enter_context(self._folder_lock)
            try:
                self._identity = database.prepare(self.path, self._partitions.counts)
                with closing(database.connect(self.path)) as connection:
                    self._ends = rows.load_ends(connection)
                self._partitions = Partitions(Counter(topic for topic, _ in self._ends))
                self._readers.start()
                self._writer.start()
            except BaseException:
                self._release()
                raise

    def _close(self) -> None:
        with self._opening:
            self._release()

    def _release(self) -> None:
        ended = self._writer.stop(_STOP_SECONDS)
        self._readers.stop()
        # A writer that hangs in the disk still uses the folder: the kernel unlocks it at the exit.
        if ended:
            self._held.close()

    def _placed(self, topic: str, record: Record) -> tuple[int, Record]:
        """Return a record behind its partition, if it may be appended."""
        partition = self._partitions.place(topic, record)
        if record.size_bytes > self._max_record_bytes:
            raise ValueError(
                f"{record.size_bytes} bytes are over the limit, {self._max_record_bytes}"
            )
        return partition, record

    def _announce(
        self, topic: str, records: Sequence[Record], appended: Future[rows.Appended]
    ) -> None:
        if not is_failed(appended):
            self._wake(topic, records, appended.result())

    def _wake(self, topic: str, records: Sequence[Record], appended: rows.Appended) -> None:
        if topic == EVENTS:
            self._recent.add(map(appended.stored, records, appended.positions))
        self._wakeups.appended(topic, appended.positions)
