"""Reads from Kafka: one record at a position, or a partition from an offset on.

Hides the Fetch request, and what its answers prove. The consumer is not used: a random read through
`seek` costs twice as much as a direct fetch, and `AIOKafkaConsumer` skips a record that is too
large without an error (aiokafka 0.14, #1173).

What an answer proves (seen on Apache Kafka 4.3.1):

- The broker checks no CRC for a fetch: it is checked here. A bad batch is fetched again, and then
  from the other replicas, which answer a fetch of version 11 too (KIP-392).
- The answer for a removed offset has the records after it: offsets are compared.
- Below the start and beyond the end, the error is the same; and a new leader may answer an
  acknowledged offset with no error and no records, until its high watermark is known. So only the
  leader's own ListOffsets proves absence; it refuses to answer in that time (KIP-207).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NoReturn, TypeVar

import structlog
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest

from app.errors import LogUnavailableError, RecordDamagedError, RecordGoneError, RecordMissingError
from app.log import Batch, Bounds, Fetched, Position
from app.log.kafka.batches import DamagedBatchError, decode
from app.log.kafka.leaders import BACKOFF_SECONDS, READ_UNCOMMITTED, UncertainError
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable

    from aiokafka.client import AIOKafkaClient

    from app.log.kafka.leaders import Leaders

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# https://kafka.apache.org/protocol#protocol_error_codes
_OFFSET_OUT_OF_RANGE = 1
# The broker answers with at least one whole batch, however small the limit (KIP-74).
_ONE_BATCH_BYTES = 1
# Only a request for a missing record waits. With 0 the tests' in-memory broker answers nothing.
_READ_WAIT_MS = 1
# A thousand events and more; the first batch comes whole, however large (KIP-74).
_TAIL_BYTES = 1_048_576
# How long a tail's request waits at the broker for a new record.
_TAIL_WAIT_MS = 500
# A bit may flip between the leader's memory and here; an error on its disk stays.
_LEADER_FETCHES = 2
# So many damaged batches are remembered, for each to be logged once.
_KNOWN_DAMAGES = 1_000


@dataclass(frozen=True, slots=True)
class _Answer:
    error_code: int
    high_watermark: int
    batches: bytes


class Fetcher:
    """Reads through connections of its own: a broker serves one request a connection at a time.

    Args:
        client: A bootstrapped client; the caller closes it.
        leaders: Of the same client.
        connections: Connections to each broker for random reads.
        timeout_seconds: Bound for every step of a tail; `leaders` bounds the other calls.
    """

    def __init__(
        self, client: AIOKafkaClient, leaders: Leaders, connections: int, timeout_seconds: float
    ) -> None:
        self._client = client
        self._leaders = leaders
        self._timeout_seconds = timeout_seconds
        self._load = {("read", number): 0 for number in range(connections)}
        self._tails = count()
        self._damages: set[tuple[str, Position]] = set()

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record and its neighbours; see `Log.read`."""
        group = min(self._load, key=self._load.__getitem__)
        self._load[group] += 1
        try:
            return await self._leaders.insist(
                lambda: self._undamaged(
                    topic, position, lambda node: self._read_once(topic, position, group, node)
                )
            )
        finally:
            self._load[group] -= 1

    async def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition; see `Log.tail`."""
        group = ("tail", next(self._tails))
        position, given = Position(partition, start), False
        try:
            while True:
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        batch = await self._next(topic, position, group)
                except (UncertainError, KafkaError, OSError, TimeoutError) as error:
                    # The next answer may be from another topic, or from one that has lost its end:
                    # the caller has to check, once Kafka answers.
                    await asyncio.sleep(BACKOFF_SECONDS)
                    await self.bounds(topic, partition)
                    if not given:
                        raise LogUnavailableError("Kafka does not return the records.") from error
                    return
                position, given = Position(partition, batch.next_offset), True
                yield batch
        finally:
            self._close_connections(group)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Request the first and the next offset from the leader; see `Log.bounds`."""
        return await self._leaders.insist(lambda: self._leaders.bounds(topic, partition))

    async def _undamaged(
        self, topic: str, position: Position, fetch: Callable[[int], Awaitable[T]]
    ) -> T:
        """Fetch from the leader, and where a batch is damaged there, from the other replicas.

        Raises:
            RecordDamagedError: The batch is damaged on every replica that could be read.
        """
        leader = await self._leaders.leader(topic, position.partition)
        for _ in range(_LEADER_FETCHES):
            try:
                return await fetch(leader)
            except DamagedBatchError as error:
                damage = error
        metrics.DAMAGED_BATCHES.labels(topic).inc()
        self._report(topic, position, damage)
        for node in self._leaders.followers(topic, position.partition):
            # A replica that lags behind or does not answer is of no help.
            with suppress(DamagedBatchError, UncertainError, KafkaError, OSError):
                return await fetch(node)
        raise RecordDamagedError(
            f"The batch at {position} of {topic} is damaged on every replica that could be read.",
            position.offset,
        ) from damage

    def _report(self, topic: str, position: Position, damage: DamagedBatchError) -> None:
        if (topic, position) in self._damages:
            return
        if len(self._damages) >= _KNOWN_DAMAGES:
            self._damages.clear()
        self._damages.add((topic, position))
        logger.error("kafka_batch_damaged", topic=topic, position=str(position), reason=str(damage))

    async def _read_once(
        self, topic: str, position: Position, group: Hashable, node: int
    ) -> Fetched:
        answer = await self._fetch(
            topic, position, group, node, max_bytes=_ONE_BATCH_BYTES, wait_ms=_READ_WAIT_MS
        )
        if answer.error_code == _OFFSET_OUT_OF_RANGE:
            await self._judge_absence(topic, position)
        records, next_offset = decode(answer.batches, position.partition, position.offset)
        for record in records:
            if record.position == position:
                return Fetched(record, tuple(other for other in records if other is not record))
        if next_offset <= position.offset:
            # An empty answer proves nothing, whatever the watermark: a broker whose remote storage
            # is slow sends one too (KIP-405). Only a record after this one proves that it is gone.
            await self._judge_absence(topic, position)
        raise RecordGoneError("The record was removed from the topic.")

    async def _next(self, topic: str, position: Position, group: Hashable) -> Batch:
        return await self._undamaged(
            topic, position, lambda node: self._step(topic, position, group, node)
        )

    async def _step(self, topic: str, position: Position, group: Hashable, node: int) -> Batch:
        answer = await self._fetch(
            topic, position, group, node, max_bytes=_TAIL_BYTES, wait_ms=_TAIL_WAIT_MS
        )
        behind = answer.high_watermark < position.offset
        if answer.error_code == _OFFSET_OUT_OF_RANGE or (behind and not answer.batches):
            await self._judge_tail(topic, position)
        records, next_offset = decode(answer.batches, position.partition, position.offset)
        # An answer has whole batches: the first may begin before the requested offset.
        wanted = tuple(record for record in records if record.position >= position)
        return Batch(wanted, next_offset, max(answer.high_watermark, next_offset))

    async def _judge_absence(self, topic: str, position: Position) -> NoReturn:
        """Raise the reason for an empty answer, by the bounds of the leader that metadata names."""
        await self._leaders.refresh()
        bounds = await self._leaders.bounds(topic, position.partition)
        if position.offset < bounds.start:
            raise RecordGoneError("The record has left the topic.")
        if position.offset >= bounds.end:
            raise RecordMissingError("The topic ends before this offset.")
        raise UncertainError(f"{position} is within {bounds}")

    async def _judge_tail(self, topic: str, position: Position) -> NoReturn:
        """Raise the reason for an empty answer to a tail, which may be at the end."""
        await self._leaders.refresh()
        bounds = await self._leaders.bounds(topic, position.partition)
        if position.offset < bounds.start:
            raise RecordGoneError("The topic starts later.")
        if position.offset > bounds.end:
            raise RecordMissingError("The topic ends before this offset.")
        raise UncertainError(f"{position} is within {bounds}")

    async def _fetch(
        self,
        topic: str,
        position: Position,
        group: Hashable,
        node: int,
        *,
        max_bytes: int,
        wait_ms: int,
    ) -> _Answer:
        """Send one Fetch request; its error can only be that the offset is out of range."""
        request = FetchRequest(
            wait_ms,
            1,
            max_bytes,
            READ_UNCOMMITTED,
            [(topic, [(position.partition, position.offset, max_bytes)])],
        )
        response = await self._client.send(node, request, group=group)
        if not response.topics:
            # The answer to a client over its quota (KIP-219).
            raise UncertainError("throttled")
        # The fields between the watermark and the batches differ by version.
        _, error_code, high_watermark, *_, batches = response.topics[0][1][0]
        if error_code not in (0, _OFFSET_OUT_OF_RANGE):
            raise UncertainError(f"error code {error_code}")
        return _Answer(error_code, high_watermark, batches or b"")

    def _close_connections(self, group: Hashable) -> None:
        for node_group in [key for key in self._client._conns if key[1] == group]:
            self._client._conns.pop(node_group).close()
