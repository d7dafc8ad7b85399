"""`KafkaLog`: the log on Apache Kafka, through aiokafka.

Puts together, behind the protocols of `app.log`, what these files hide: which record goes where
(`appender`), when a producer is replaced (`lane`) and how it is closed (`abandon`), that no key is
sent twice (`send_once`), the outcomes of sent records (`outcomes`), what an answer to a read proves
(`fetch`), which broker answers (`leaders`), the bytes of a batch (`batches`), consumer groups'
offsets (`cursors`), the deletion of old records (`trim`); which topics are needed (`topics`), how
they must be configured (`rules`), and what changes about them at run time (`watched_topics`,
`watch`); an examination (`checkup`, `permissions`, `cleaner`), and connections (`connections`,
`transport`): how they are secured (`security`, `files`, `oauth`, `sessions`), and why none comes
about (`handshake`, `refusals`).

The producers are not idempotent (KIP-98) on purpose: an idempotent one of aiokafka never expires
what it holds and cannot be stopped while a broker is down (#1101), and nothing here needs it: a
duplicate in `images` is an unreferenced record, a duplicate event is applied once, and a key has no
duplicate.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.errors import LogUnavailableError, NotReadyError, NotWrittenError
from app.log import EVENTS, IMAGES, KEYS, Batch, Bounds, Fetched, Position, Record
from app.log.kafka import checkup, cursors, transport, trim
from app.log.kafka.appender import Appender
from app.log.kafka.connections import Connections
from app.log.kafka.lane import Lane
from app.log.kafka.reads import Reads, request_ms
from app.log.kafka.watched_topics import WatchedTopics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from app.log.findings import Finding
    from app.log.kafka.settings import KafkaSettings

# A record that is still held at the end has been given up by its sender.
_FLUSH_SECONDS = 3.0


class KafkaLog:
    """A `Log` on a Kafka cluster; it is a `TrimmableLog`, a `CursorLog` and an `ExaminableLog`.

    Args:
        settings: Where it is.
        must_exist: Refuse to start where a topic is missing, instead of creating it.
    """

    def __init__(self, settings: KafkaSettings, *, must_exist: bool = False) -> None:
        self._settings = settings
        self._connections = Connections(settings)
        self._topics = WatchedTopics(
            settings, self._connections, self._apply_look, must_exist=must_exist
        )
        self._reads: Reads | None = None
        self._appender: Appender | None = None

    @property
    def identity(self) -> str:
        """The cluster's id and the topic of the events."""
        return self._topics.identity

    @property
    def trouble(self) -> str | None:
        """The reason why images or events cannot be written, or a topic's misfit, or None."""
        return self._topics.trouble or (
            self._appender.trouble if self._appender else "it is closed"
        )

    async def examine(self) -> list[Finding]:
        """Examine brokers, permissions and topics; see `checkup`."""
        return await checkup.examine(self._settings, self._connections)

    async def start(self) -> None:
        """Connect, create and check the topics, and wait until every partition has a leader."""
        transport.install()
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                await self._topics.prepare()
                await self._connect()
        except TimeoutError as error:
            await self.stop()
            seconds = self._settings.connect_timeout_seconds
            raise self._connections.unanswered(seconds) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Flush, within a bound, then close every connection."""
        await self._topics.stop()
        reads, self._reads = self._reads, None
        if self._appender is not None:
            appender, self._appender = self._appender, None
            await asyncio.gather(*(lane.stop(_FLUSH_SECONDS) for lane in appender.lanes))
        if reads is not None:
            await reads.close()

    def max_record_bytes(self, topic: str) -> int:
        """Return the topic's own limit, or the size of one of our batches if that is smaller."""
        return self._topics.max_record_bytes(topic)

    def partitions(self, topic: str) -> int:
        """Return the number of partitions that the topic had at first; 0 while it is missing."""
        return self._topics.partitions(topic)

    def segment_seconds(self, topic: str) -> float:
        """Return how long a topic writes to one segment, as of the last look at it."""
        return self._topics.segment_seconds(topic)

    def deadline(self) -> float:
        """Return the loop time by which an append that begins now is answered."""
        return asyncio.get_running_loop().time() + self._settings.append_timeout_seconds

    def require_writable(self) -> None:
        """Check that there are producers that work, and topics that fit."""
        appender = self._appender
        if refusal := self._topics.trouble or (appender.refusal if appender else "it is closed"):
            raise NotReadyError(f"Nothing can be stored now: {refusal}.")

    async def append(
        self, topic: str, records: Sequence[Record], deadline: float | None = None
    ) -> list[Position]:
        """Append with `acks=all`; see `appender`."""
        self._check_sizes(topic, records)
        if self._appender is None:
            raise NotWrittenError("The log is closed.")
        return await self._appender.append(topic, records, deadline or self.deadline())

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record by a direct fetch from the partition's leader."""
        return await self._reading().read(topic, position)

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition on a connection of its own."""
        return self._reading().tail(topic, partition, start)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Request the first and the next offset from the partition's leader."""
        return await self._reading().bounds(topic, partition)

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete records by a DeleteRecords request.

        Raises:
            ValueError: `before` is beyond the end, or the topic's policy forbids it.
        """
        name, reads = self._topics.names[topic], self._reading()

        async def attempt() -> None:
            leader = await reads.leaders.leader(name, partition)
            seconds = self._settings.read_timeout_seconds
            await trim.trim(reads.client, leader, name, partition, before, seconds)

        await reads.leaders.insist(attempt)

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Commit an offset for the consumer group `cursor`, which has no members."""
        name, reads = self._topics.names[topic], self._reading()
        await reads.leaders.insist(
            lambda: cursors.commit(reads.client, cursor, name, partition, offset)
        )

    async def committed(self, cursor: str, topic: str, partition: int) -> int | None:
        """Return the committed offset of the consumer group `cursor`."""
        name, reads = self._topics.names[topic], self._reading()
        return await reads.leaders.insist(
            lambda: cursors.committed(reads.client, cursor, name, partition)
        )

    async def _connect(self) -> None:
        # Closed by `stop`, whichever step fails.
        self._reads = reads = Reads(
            self._settings, self._connections, self._topics.names, self._topics.look_soon
        )
        await reads.start(self._partitions())
        self._appender = Appender(
            reads.client,
            self._topics.by_role,
            [
                self._lane(f"images-{number}", IMAGES)
                # Each lane owns partitions: one without any would be useless.
                for number in range(min(self._settings.producers, self.partitions(IMAGES)))
            ],
            self._lane("events", EVENTS),
            self.max_record_bytes,
            self._topics.look_soon,
            needs_keys=self._settings.erasure == "shred",
        )
        if self.partitions(KEYS):
            self._appender.key_lane = self._lane("keys", KEYS)
        connect = self._connections.until_connected
        await asyncio.gather(*(connect(lane.start) for lane in self._appender.lanes))
        self._topics.start()

    def _lane(self, name: str, role: str) -> Lane:
        seconds = request_ms(self._settings) / 1000
        return Lane(name, role, self._producing(role), seconds, once=role == KEYS)

    def _partitions(self) -> dict[str, int]:
        return {role: self.partitions(role) for role in self._topics.by_role}

    async def _apply_look(self, limits_changed: bool) -> None:
        """Adapt to what a look at the topics has found: limits, and the topic of the keys."""
        if limits_changed:
            self._renew_producers()
        if self._reads is not None:
            await self._reads.follow(self._partitions())
        if self._appender and self._appender.key_lane is None and self.partitions(KEYS):
            lane = self._lane("keys", KEYS)
            await lane.start()
            self._appender.key_lane = lane

    def _renew_producers(self) -> None:
        for lane in self._appender.lanes if self._appender else ():
            lane.renew(self._producing(lane.role))

    def _producing(self, role: str) -> dict[str, Any]:
        return self._connections.producing(role, self.max_record_bytes(role))

    def _reading(self) -> Reads:
        if self._reads is None:
            raise LogUnavailableError("The log is closed.")
        return self._reads

    def _check_sizes(self, topic: str, records: Sequence[Record]) -> None:
        limit = self.max_record_bytes(topic)
        if any(record.size_bytes > limit for record in records):
            raise ValueError(f"a record is over the limit of {limit} bytes")
