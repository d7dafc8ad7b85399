"""The log: the protocols that everything above is built on, and their vocabulary.

Hides which engine stores the records. `KafkaLog` (`app.log.kafka.log`) and `SqliteLog`
(`app.log.sqlite.log`) pass one contract suite, `tests/contract/`; only `main` knows which one runs.

Terms, as Kafka uses them: a *topic* has *partitions*, a partition is a sequence of *records* with
ascending, zero-based, not necessarily contiguous *offsets*; a *cursor* is a consumer group's
committed offset. A *position* is (partition, offset) in a topic that the context names.

`ReadableLog` is the half of `Log` that reads: all that a reader beside the gateways has. `Log` is
the core, which a gateway needs. An ability that some engines lack, or few callers need, is an
opt-in protocol: `PairingLog`, `ErasableLog`, `TrimmableLog`, `CompactingLog`, `CursorLog`,
`ExaminableLog`. A parameter names the narrowest protocol that its function needs; where one may be
missing, `isinstance` tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.log.findings import Finding

IMAGES = "images"
EVENTS = "image-events"
REJECTS = "image-rejects"
# The wrapped keys of images whose deletion destroys them. The one topic that a log may lack.
KEYS = "image-keys"

# An image's address has 16 bits for its partition, and 48 for its offset.
MAX_PARTITIONS = 65_536
MAX_OFFSETS = 2**48

# The cost of a record in a Kafka batch beyond its bytes: the batch header (61) with one record's
# length, attributes, timestamp, offset and count (at most 36), rounded up; and a header's varints.
# https://kafka.apache.org/documentation/#recordbatch
_RECORD_OVERHEAD_BYTES = 128
_HEADER_OVERHEAD_BYTES = 10


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The place of a record in its topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Record:
    """A record to append.

    Without a `partition`, the log chooses one. A value of None is a tombstone.
    """

    key: bytes
    value: bytes | memoryview | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes that count against `Log.max_record_bytes`, overhead included."""
        headers = sum(
            len(name.encode()) + len(value) + _HEADER_OVERHEAD_BYTES for name, value in self.headers
        )
        return _RECORD_OVERHEAD_BYTES + len(self.key) + len(self.value or b"") + headers


@dataclass(frozen=True, slots=True, weakref_slot=True)
class StoredRecord:
    """A record in the log.

    `timestamp_ms` is the log's own clock at the append, in Unix milliseconds. `key` and header
    values may be None in records of other programs.
    """

    position: Position
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int

    def header(self, name: str) -> bytes | None:
        """Return the value of the last header called `name`, as Kafka's `lastHeader` does."""
        return next((value for key, value in reversed(self.headers) if key == name), None)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The requested record, and its neighbours from the same batch."""

    record: StoredRecord
    neighbours: tuple[StoredRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A step of a tail: records, and the offset at which the next step starts.

    `records` may be empty: the step passed offsets without a record, or it reached the end and no
    record came for a while, which tells the reader that the log still answers. `end` is the
    partition's end offset as last seen.
    """

    records: tuple[StoredRecord, ...]
    next_offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset that can still be read, and the offset of the next record to come."""

    start: int
    end: int


@runtime_checkable
class ReadableLog(Protocol):
    """The records of partitioned topics, to be read.

    Every call is bounded by the log's own deadlines. After `stop` all raise `LogUnavailableError`.
    """

    @property
    def identity(self) -> str:
        """The name that tells this log from every other: the cluster's id, or the database's."""
        ...

    async def start(self) -> None:
        """Connect, and check what exists.

        Raises:
            ConfigurationError: The log does not fit; the detail says what to change.
        """
        ...

    async def stop(self) -> None:
        """Release everything, within a bound."""
        ...

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of `topic`, 0 while there is no such topic.

        Only `KEYS` may be missing, and may appear later: until then, reads of that topic raise a
        `LogUnavailableError`, and appends a `NotWrittenError`.
        """
        ...

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read the record at one position.

        Raises:
            RecordMissingError: Nothing was ever written there.
            RecordGoneError: The record was erased, trimmed or has expired.
            RecordDamagedError: The stored record is not the one that was written.
            LogUnavailableError: The log did not give a certain answer in time.
        """
        ...

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition from `start`, in order, without gaps.

        The tail ends after an interruption, as the topic may have been recreated. Check that it is
        still the same topic, and tail again from the last `next_offset`.

        Raises:
            RecordGoneError: `start` is before the first offset that can be read.
            RecordMissingError: `start` is beyond the end.
            RecordDamagedError: The record at the error's `offset` is not the one that was written.
            LogUnavailableError: The log stopped answering; tail again from the last `next_offset`.
        """
        ...

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the bounds of a partition, as its leader knows them now.

        Raises:
            RecordMissingError: The topic has no such partition.
            LogUnavailableError: The log did not answer in time.
        """
        ...


@runtime_checkable
class Log(ReadableLog, Protocol):
    """An append-only log of records in partitioned topics.

    After `stop`, appends raise `NotWrittenError`, and `require_writable` a `NotReadyError` where
    the engine knows. `start` creates what is missing, and `stop` finishes the appends under way.
    """

    @property
    def trouble(self) -> str | None:
        """The reason why appends fail now, as a clause without a full stop, or None."""
        ...

    def max_record_bytes(self, topic: str) -> int:
        """Return the limit for `Record.size_bytes` in `topic`."""
        ...

    def deadline(self) -> float:
        """Return the loop time by which an append that begins now is answered."""
        ...

    def require_writable(self) -> None:
        """Check that an image could be stored now, before work is put into it.

        Raises:
            NotReadyError: Its records would be refused at once.
        """
        ...

    async def append(
        self, topic: str, records: Sequence[Record], deadline: float | None = None
    ) -> list[Position]:
        """Append the records; they are durable on return. Order is kept within a partition.

        Args:
            topic: The topic.
            records: The records.
            deadline: A result of `deadline()`, where several appends share one.

        Returns:
            The position of each record, in the order given.

        Raises:
            NotWrittenError: No record was handed over; none will ever appear.
            OutcomeUnknownError: At least one was handed over without an acknowledgement. Its
                `outcomes` tell record by record, and `settled` when the log has let go of them.
        """
        ...


# `Log.append`, or what stands in front of it.
Append: TypeAlias = Callable[[str, Sequence[Record], float], Awaitable[list[Position]]]


@runtime_checkable
class PairingLog(Log, Protocol):
    """A log that can append two records in one step, of which the second names the first."""

    async def append_pair(
        self,
        topic: str,
        record: Record,
        next_topic: str,
        following: Callable[[Position], Record],
        deadline: float | None = None,
    ) -> list[Position]:
        """Append a record, and the one that follows from its position: both or neither.

        Args:
            topic: The topic of the first record.
            record: The first record.
            next_topic: The topic of the second one.
            following: Makes the second record. It may be called in another thread, and again.
            deadline: As for `append`.

        Returns:
            Both positions.

        Raises:
            NotWrittenError: Neither record will ever appear.
            OutcomeUnknownError: Both may be there, or neither.
        """
        ...


@runtime_checkable
class ErasableLog(Log, Protocol):
    """A log that can overwrite single records.

    Kafka cannot: there, bytes leave with the topic's retention, or by compaction behind a
    tombstone, which is an append.
    """

    async def erase(self, topic: str, positions: Sequence[Position]) -> None:
        """Overwrite the bytes of records; on return they are in no file.

        Positions without a record are ignored.

        Raises:
            LogUnavailableError: Not all were erased in time; erase them again.
        """
        ...


@runtime_checkable
class TrimmableLog(Log, Protocol):
    """A log that can delete the beginning of a partition, as retention does."""

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete every record of a partition below the offset `before`.

        Raises:
            ValueError: `before` is beyond the end, or the topic forbids it.
            LogUnavailableError: The log did not confirm it in time; trim again.
        """
        ...


@runtime_checkable
class CompactingLog(Log, Protocol):
    """A log that removes the records behind tombstones from some topics, a segment at a time."""

    def segment_seconds(self, topic: str) -> float:
        """Return how long a topic writes to one segment, of which nothing is removed meanwhile."""
        ...


@runtime_checkable
class CursorLog(Log, Protocol):
    """A log that stores cursors, so that a reader resumes where it stopped."""

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Store `offset` under the name of the cursor.

        Raises:
            LogUnavailableError: The log did not confirm it in time.
        """
        ...

    async def committed(self, cursor: str, topic: str, partition: int) -> int | None:
        """Return the offset last committed under the name, or None.

        Raises:
            LogUnavailableError: The log did not give a certain answer in time.
        """
        ...


@runtime_checkable
class ExaminableLog(Log, Protocol):
    """A log that can examine what it is stored on, for `imagegate doctor`."""

    async def examine(self) -> list[Finding]:
        """Return findings on the brokers or the database, without starting the log."""
        ...
