"""Reads from Kafka: one record at random, or a partition from an offset on.

Hides the Fetch and ListOffsets requests, and what an answer proves. The consumer is not used: a
random read through `seek` costs twice as much as a direct fetch, and `AIOKafkaConsumer` skips a
record that is too large without an error (aiokafka 0.14, #1173).

What an answer proves (seen on Apache Kafka 4.3.1):

- A fetch checks no CRC: it is checked here, and a bad batch is fetched again.
- A removed offset answers with the records after it: offsets are compared.
- Below the start and beyond the end, the error is the same; and a new leader may answer an
  acknowledged offset with no error and no records, until its high watermark is known. So absence
  is believed only of the leader's own ListOffsets, which refuses to answer in that time (KIP-207).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NoReturn, TypeVar

import structlog
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from app.errors import LogUnavailableError, RecordGoneError, RecordMissingError
from app.log import Batch, Bounds, Fetched, Position, StoredRecord
from app.log.kafka.batches import DamagedBatchError, decode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable

    from aiokafka.client import AIOKafkaClient

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# https://kafka.apache.org/protocol#protocol_error_codes
_OFFSET_OUT_OF_RANGE = 1
# https://kafka.apache.org/protocol#The_Messages_ListOffsets
_LATEST, _EARLIEST = -1, -2
# Transactions are not ours, and one that a stranger leaves open must not hold back the rest.
_READ_UNCOMMITTED = 0
# The broker answers with one whole batch at least, however small the limit (KIP-74).
_ONE_BATCH_BYTES = 1
# Only a request for what is not there waits. With 0 the tests' in-memory broker answers nothing.
_READ_WAIT_MS = 1
# A thousand events and more; one batch comes whole, however large (KIP-74).
_TAIL_BYTES = 1_048_576
# How long a tail's request waits at the broker for something new.
_TAIL_WAIT_MS = 500
# The leaders of a new topic take up to 0.9 s.
_BACKOFF_SECONDS = 0.1


class _UncertainError(Exception):
    """The answer proves nothing: ask again."""


@dataclass(frozen=True, slots=True)
class _Answer:
    error_code: int
    high_watermark: int
    batches: bytes


class Fetcher:
    """Reads through connections of its own: a broker serves one request a connection at a time.

    Args:
        client: A bootstrapped client; the caller closes it.
        connections: How many random reads a broker may be asked at once.
        timeout_seconds: Bound for every call, and for every step of a tail.
    """

    def __init__(self, client: AIOKafkaClient, connections: int, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._load = {("read", number): 0 for number in range(connections)}
        self._tails = count()

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record and its neighbours; see `Log.read`."""
        group = min(self._load, key=self._load.__getitem__)
        self._load[group] += 1
        try:
            return await self.insist(lambda: self._read_once(topic, position, group))
        finally:
            self._load[group] -= 1

    async def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition; see `Log.tail`."""
        group = ("tail", next(self._tails))
        position = Position(partition, start)
        try:
            while True:
                here = position
                batch = await self.insist(lambda: self._step(topic, here, group))  # noqa: B023
                position = Position(partition, batch.next_offset)
                yield batch
        finally:
            self._close_connections(group)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Ask the leader for the first and the next offset; see `Log.bounds`."""
        return await self.insist(lambda: self._bounds_once(topic, partition))

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt that is uncertain, after fresh metadata, until the deadline.

        Raises:
            LogUnavailableError: There was no certain answer in time.
        """
        cause: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while True:
                    try:
                        return await attempt()
                    except (_UncertainError, KafkaError, OSError) as error:
                        cause = error
                    await self._client.force_metadata_update()
                    await asyncio.sleep(_BACKOFF_SECONDS)
        except TimeoutError:
            raise LogUnavailableError("Kafka gave no certain answer in time.") from cause

    def leader(self, topic: str, partition: int) -> int:
        """Return the node that leads a partition, as far as is known.

        Raises:
            RecordMissingError: The topic has no such partition.
        """
        partitions = self._client.cluster.partitions_for_topic(topic)
        if partitions and partition not in partitions:
            raise RecordMissingError("The topic has no such partition.")
        leader = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if leader is None or leader == -1:
            raise _UncertainError("no leader")
        return int(leader)

    async def _read_once(self, topic: str, position: Position, group: Hashable) -> Fetched:
        answer = await self._fetch(
            topic, position, group, max_bytes=_ONE_BATCH_BYTES, wait_ms=_READ_WAIT_MS
        )
        if answer.error_code == _OFFSET_OUT_OF_RANGE:
            await self._judge_absence(topic, position)
        records, next_offset = self._decode(answer, topic, position)
        for record in records:
            if record.position == position:
                return Fetched(record, tuple(other for other in records if other is not record))
        if next_offset <= position.offset:
            # Nothing came at all, whatever the watermark: a broker whose remote storage is slow
            # answers like this too (KIP-405). Only a record after it proves that this one is gone.
            await self._judge_absence(topic, position)
        raise RecordGoneError("The record was removed from the topic.")

    async def _step(self, topic: str, position: Position, group: Hashable) -> Batch:
        answer = await self._fetch(
            topic, position, group, max_bytes=_TAIL_BYTES, wait_ms=_TAIL_WAIT_MS
        )
        behind = answer.high_watermark < position.offset
        if answer.error_code == _OFFSET_OUT_OF_RANGE or (behind and not answer.batches):
            await self._judge_tail(topic, position)
        records, next_offset = self._decode(answer, topic, position)
        # A fetch answers with whole batches: the first may begin before what was asked for.
        wanted = tuple(record for record in records if record.position >= position)
        return Batch(wanted, next_offset, max(answer.high_watermark, next_offset))

    async def _judge_absence(self, topic: str, position: Position) -> NoReturn:
        """Find out why a position answers nothing, of the leader that metadata names now."""
        await self._client.force_metadata_update()
        bounds = await self._bounds_once(topic, position.partition)
        if position.offset < bounds.start:
            raise RecordGoneError("The record has left the topic.")
        if position.offset >= bounds.end:
            raise RecordMissingError("The topic does not reach so far.")
        raise _UncertainError(f"{position} lies within {bounds}")

    async def _judge_tail(self, topic: str, position: Position) -> NoReturn:
        """Do the same for a tail, which may rightly stand at the end."""
        await self._client.force_metadata_update()
        bounds = await self._bounds_once(topic, position.partition)
        if position.offset < bounds.start:
            raise RecordGoneError("The topic starts later.")
        if position.offset > bounds.end:
            raise RecordMissingError("The topic does not reach so far.")
        raise _UncertainError(f"{position} lies within {bounds}")

    async def _fetch(
        self, topic: str, position: Position, group: Hashable, *, max_bytes: int, wait_ms: int
    ) -> _Answer:
        """Send one Fetch request; an answer has no error, or is out of range."""
        request = FetchRequest(
            wait_ms,
            1,
            max_bytes,
            _READ_UNCOMMITTED,
            [(topic, [(position.partition, position.offset, max_bytes)])],
        )
        leader = self.leader(topic, position.partition)
        response = await self._client.send(leader, request, group=group)
        if not response.topics:
            # What a client over its quota gets (KIP-219).
            raise _UncertainError("throttled")
        # The fields between the watermark and the batches differ by version.
        _, error_code, high_watermark, *_, batches = response.topics[0][1][0]
        if error_code not in (0, _OFFSET_OUT_OF_RANGE):
            raise _UncertainError(f"error code {error_code}")
        return _Answer(error_code, high_watermark, batches or b"")

    def _decode(
        self, answer: _Answer, topic: str, position: Position
    ) -> tuple[list[StoredRecord], int]:
        try:
            return decode(answer.batches, position.partition, position.offset)
        except DamagedBatchError as error:
            logger.error(  # noqa: TRY400 - it is no mistake of ours: no traceback
                "kafka_batch_damaged", topic=topic, position=str(position), reason=str(error)
            )
            raise _UncertainError(str(error)) from error

    async def _bounds_once(self, topic: str, partition: int) -> Bounds:
        start = await self._list_offset(topic, partition, _EARLIEST)
        return Bounds(start, await self._list_offset(topic, partition, _LATEST))

    async def _list_offset(self, topic: str, partition: int, timestamp: int) -> int:
        request = OffsetRequest(-1, _READ_UNCOMMITTED, [(topic, [(partition, timestamp)])])
        response = await self._client.send(self.leader(topic, partition), request)
        _, error_code, _, offset = response.topics[0][1][0]
        if error_code:
            raise _UncertainError(f"error code {error_code}")
        return int(offset)

    def _close_connections(self, group: Hashable) -> None:
        for node_group in [key for key in self._client._conns if key[1] == group]:
            self._client._conns.pop(node_group).close()
