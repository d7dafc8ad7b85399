"""The log: the protocols that everything above stands on, and their vocabulary.

Hides which engine keeps the records. `KafkaLog` (`app.log.kafka.log`) and `SqliteLog`
(`app.log.sqlite.log`) pass one contract suite, `tests/contract/`; only `main` knows which one runs.

Terms, as Kafka uses them: a *topic* has *partitions*, a partition is a sequence of *records* with
ascending, zero-based, not necessarily contiguous *offsets*; a *cursor* is a consumer group's
committed offset. A *position* is (partition, offset) in a topic that the context names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from app.log.findings import Finding

IMAGES = "images"
EVENTS = "image-events"
REJECTS = "image-rejects"

# An image's address has 16 bits for its partition, and 48 for its offset.
MAX_PARTITIONS = 65_536
MAX_OFFSETS = 2**48

# What a record costs in a Kafka batch beyond its bytes: the batch header (61) with one record's
# length, attributes, timestamp, offset and count (at most 36), rounded up; and a header's varints.
# https://kafka.apache.org/documentation/#recordbatch
_RECORD_OVERHEAD_BYTES = 128
_HEADER_OVERHEAD_BYTES = 10


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record lies in its topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Record:
    """What is appended.

    `partition` is chosen by the log unless it is given. A value of None is a tombstone.
    """

    key: bytes
    value: bytes | memoryview | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None

    @property
    def size_bytes(self) -> int:
        """The bytes that count against `Log.max_record_bytes`, overhead included."""
        headers = sum(
            len(name.encode()) + len(value) + _HEADER_OVERHEAD_BYTES for name, value in self.headers
        )
        return _RECORD_OVERHEAD_BYTES + len(self.key) + len(self.value or b"") + headers


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """What is read. `timestamp_ms` is the log's own clock at the append, in Unix milliseconds.

    `key` and header values may be None in what strangers wrote.
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
    """The record that was asked for, and the neighbours that came in the same batch."""

    record: StoredRecord
    neighbours: tuple[StoredRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A step of a tail: the records, and the offset at which the next step starts.

    `records` may be empty: offsets without a record were passed, or the end was met and nothing
    came for a while, which tells the reader that the log still answers. `end` is the partition's
    end offset as last seen.
    """

    records: tuple[StoredRecord, ...]
    next_offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset that can still be read, and the offset that the next record will get."""

    start: int
    end: int


class Log(Protocol):
    """An append-only log of records in partitioned topics.

    Every call is bounded by the log's own deadlines. After `stop`, appends raise `NotWrittenError`
    and everything else `LogUnavailableError`.
    """

    @property
    def identity(self) -> str:
        """Tell this log from every other: the cluster's id, or the database's."""
        ...

    @property
    def trouble(self) -> str | None:
        """Say why appends are failing at the moment, in a clause without a full stop, or None."""
        ...

    async def examine(self) -> list[Finding]:
        """Say what is right and wrong with what lies under it. It is not started for that."""
        ...

    async def start(self) -> None:
        """Connect, create what is missing, check what exists.

        Raises:
            ConfigurationError: The log does not fit; the detail says what to change.
        """
        ...

    async def stop(self) -> None:
        """Finish what was appended, within a bound, and release everything."""
        ...

    def max_record_bytes(self, topic: str) -> int:
        """Return the limit for `Record.size_bytes` in `topic`."""
        ...

    def partitions(self, topic: str) -> int:
        """Return how many partitions `topic` has."""
        ...

    def deadline(self) -> float:
        """Return the loop time by which an append that begins now is answered."""
        ...

    def require_writable(self) -> None:
        """Check that an image's records would be taken now, before work is put into them.

        Raises:
            NotReadyError: They would be refused at once.
        """
        ...

    async def append(
        self, topic: str, records: Sequence[Record], deadline: float | None = None
    ) -> list[Position]:
        """Append the records; they are durable on return. Order is kept within a partition.

        Args:
            topic: Where to.
            records: What.
            deadline: What `deadline()` returned, where several appends share one.

        Returns:
            The position of each record, in the order given.

        Raises:
            NotWrittenError: No record was handed over; none will ever appear.
            OutcomeUnknownError: At least one was handed over without an acknowledgement. Its
                `outcomes` tell record by record, and `settled` when the log has let go of them.
        """
        ...

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record at random.

        Raises:
            RecordMissingError: Nothing was ever written there.
            RecordGoneError: It was erased, trimmed or has expired.
            RecordDamagedError: What lies there is not what was written.
            LogUnavailableError: The log did not give a certain answer in time.
        """
        ...

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition from `start`, in order, without gaps.

        It ends where the log was lost sight of for a moment: another topic may be under the name
        since. Make sure that it is not, and tail again from the last `next_offset`.

        Raises:
            RecordGoneError: `start` lies before the first offset that can be read.
            RecordMissingError: `start` lies beyond the end.
            RecordDamagedError: What lies at its `offset` is not what was written.
            LogUnavailableError: The log stopped answering; tail again from the last `next_offset`.
        """
        ...

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the bounds of a partition, as its leader knows them now."""
        ...

    def erases(self, topic: str) -> bool:
        """Tell whether `erase` does anything in `topic`."""
        ...

    async def erase(self, topic: str, positions: Sequence[Position]) -> None:
        """Erase records as far as the engine can.

        The embedded log overwrites their bytes at once. Kafka erases by compaction alone: a
        tombstone is appended where the topic is compacted, and elsewhere the bytes stay until
        the topic's retention takes them.
        """
        ...

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete every record of a partition below the offset `before`."""
        ...

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Remember `offset` under the name of the cursor."""
        ...

    async def committed(self, cursor: str, topic: str, partition: int) -> int | None:
        """Return what was last committed under the name, or None."""
        ...
