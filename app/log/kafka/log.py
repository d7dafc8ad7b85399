"""`KafkaLog`: the log on Apache Kafka, through aiokafka. Nothing else imports aiokafka.

Hides, a file each: which record goes where (`appender`), how a producer is replaced when it fails
(`lane`), what became of records that were sent (`outcomes`), what an answer to a read proves
(`fetch`), whom to ask (`leaders`), how a batch is taken apart (`batches`), where consumer groups
keep their offsets (`cursors`), which topics are needed (`topics`), how they must be configured
(`rules`), when that is checked again (`watch`), what is wrong with a cluster (`checkup`,
`permissions`), and how to connect to it (`connections`, `transport`). Here they are put together
behind the `Log` protocol.

The producers are not idempotent (KIP-98) on purpose: an idempotent one of aiokafka never expires
what it holds and cannot be stopped while a broker is down (#1101), and nothing here needs it: a
duplicate in `images` is an unreferenced record, a duplicate event is applied once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, PolicyViolationError
from aiokafka.protocol.admin import DeleteRecordsRequest

from app.errors import ConfigurationError, LogUnavailableError, NotReadyError, NotWrittenError
from app.log import EVENTS, IMAGES, Batch, Bounds, Fetched, Position, Record
from app.log.kafka import checkup, cursors, topics, transport
from app.log.kafka.appender import Appender
from app.log.kafka.connections import administration, connection, producing, until_connected
from app.log.kafka.fetch import Fetcher
from app.log.kafka.lane import RECONNECT_SECONDS, Lane
from app.log.kafka.leaders import Leaders
from app.log.kafka.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from aiokafka.admin import AIOKafkaAdminClient

    from app.log.findings import Finding
    from app.log.kafka.rules import Topic
    from app.log.kafka.settings import KafkaSettings

# A batch gathers what waits, up to this: the default of 16 KiB makes every image its own batch.
_BATCH_BYTES = 1_048_576
# A broker's request handler that does not answer a read in this part of its time is asked anew.
_READ_ATTEMPTS = 3
# What is still held at the end was given up by those who sent it.
_FLUSH_SECONDS = 3.0


transport.install()


class KafkaLog:
    """The log on a Kafka cluster."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._names = topics.names(settings.topic_prefix)
        self._topics: dict[str, Topic] = {}
        self._identity = ""
        self._last_error: Exception | None = None
        self._client: Any = None
        self._leaders: Leaders | None = None
        self._fetcher: Fetcher | None = None
        self._appender: Appender | None = None
        self._watch = Watch(self._look_at_topics)

    @property
    def identity(self) -> str:
        """The cluster's id and the topic that holds the facts."""
        return self._identity

    @property
    def trouble(self) -> str | None:
        """Say why images or events cannot be written, or what of the topics does not fit now."""
        return self._watch.trouble or (self._appender.trouble if self._appender else "it is closed")

    async def examine(self) -> list[Finding]:
        """Look at brokers, permissions and topics; see `checkup`."""
        return await checkup.examine(self._settings)

    async def start(self) -> None:
        """Connect, create and check the topics, and wait until every partition has a leader."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_seconds):
                await self._prepare_topics()
                await self._connect()
        except TimeoutError as error:
            await self.stop()
            said = f" The last error was {self._last_error!r}." if self._last_error else ""
            raise ConfigurationError(
                f"No Kafka broker answered at {self._settings.bootstrap_servers} within"
                f" {self._settings.connect_timeout_seconds:g} seconds, or not all that was"
                f" asked.{said}"
            ) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Flush for a moment, then close every connection."""
        await self._watch.stop()
        self._leaders = self._fetcher = None
        if self._appender is not None:
            appender, self._appender = self._appender, None
            await asyncio.gather(*(lane.stop(_FLUSH_SECONDS) for lane in appender.lanes))
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    def max_record_bytes(self, topic: str) -> int:
        """Return the topic's own limit, or what one batch of ours holds."""
        return min(_BATCH_BYTES, self._topics[topic].max_message_bytes)

    def partitions(self, topic: str) -> int:
        """Return how many partitions the topic had at start."""
        return self._topics[topic].partitions

    def deadline(self) -> float:
        """Return the loop time by which an append that begins now is answered."""
        return asyncio.get_running_loop().time() + self._settings.append_timeout_seconds

    def require_writable(self) -> None:
        """Check that there are producers that work, and topics that fit."""
        appender = self._appender
        if refusal := self._watch.trouble or (appender.refusal if appender else "it is closed"):
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
        return await self._reading().read(self._names[topic], position)

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition on a connection of its own."""
        return self._reading().tail(self._names[topic], partition, start)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Ask the partition's leader for its first and next offset."""
        return await self._reading().bounds(self._names[topic], partition)

    def erases(self, topic: str) -> bool:
        """Tell whether the topic is compacted; elsewhere bytes leave with the retention."""
        return "compact" in self._topics[topic].config["cleanup.policy"]

    async def erase(self, topic: str, positions: Sequence[Position]) -> None:
        """Append a tombstone a record where the topic is compacted; elsewhere do nothing."""
        if not self.erases(topic):
            return
        fetched = [await self.read(topic, position) for position in positions]
        tombstones = [
            Record(each.record.key or b"", None, partition=each.record.position.partition)
            for each in fetched
        ]
        await self.append(topic, tombstones)

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """Delete records by a DeleteRecords request.

        Raises:
            ValueError: `before` lies beyond the end, or the topic's policy forbids it.
        """
        request = DeleteRecordsRequest(
            [(self._names[topic], [(partition, before)])],
            int(self._settings.read_timeout_seconds * 1000),
        )
        leaders = self._asking()

        async def attempt() -> None:
            leader = await leaders.leader(self._names[topic], partition)
            response = await self._client.send(leader, request)
            try:
                cursors.raise_for(response.topics[0][1][0][2])
            except (OffsetOutOfRangeError, PolicyViolationError) as error:
                raise ValueError(error.description) from error

        await leaders.insist(attempt)

    async def commit(self, cursor: str, topic: str, partition: int, offset: int) -> None:
        """Commit an offset for the consumer group `cursor`, which has no members."""
        name = self._names[topic]
        await self._asking().insist(
            lambda: cursors.commit(self._client, cursor, name, partition, offset)
        )

    async def committed(self, cursor: str, topic: str, partition: int) -> int | None:
        """Return the committed offset of the consumer group `cursor`."""
        name = self._names[topic]
        return await self._asking().insist(
            lambda: cursors.committed(self._client, cursor, name, partition)
        )

    async def _prepare_topics(self) -> None:
        while True:
            try:
                async with administration(self._settings) as admin:
                    self._topics = await topics.prepare(
                        admin, self._names, self._settings.partitions
                    )
                    self._identity = await self._identify(admin)
            # Of several brokers, one that is down may have been asked; another time it is another.
            except (KafkaError, OSError) as error:
                self._last_error = error
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    async def _identify(self, admin: AIOKafkaAdminClient) -> str:
        cluster = await admin.describe_cluster()
        return f"kafka:{cluster['cluster_id']}:{self._names[EVENTS]}"

    async def _connect(self) -> None:
        read_ms = int(self._settings.read_timeout_seconds * 1000 / _READ_ATTEMPTS)
        self._client = AIOKafkaClient(**connection(self._settings, "reads", read_ms))
        await until_connected(self._client.bootstrap)
        await self._client.set_topics(self._names.values())
        leaders = Leaders(self._client, self._settings.read_timeout_seconds)
        fetcher = Fetcher(
            self._client,
            leaders,
            self._settings.read_connections,
            self._settings.read_timeout_seconds,
        )
        # Metadata may name a leader that does not know it yet: what it answers decides.
        for role, name in self._names.items():
            for partition in range(self._topics[role].partitions):
                await fetcher.bounds(name, partition)
        self._appender = Appender(
            self._client,
            self._topics,
            [
                Lane(f"images-{number}", self._producing(IMAGES), read_ms / 1000)
                # Each owns partitions: one without any would never be in trouble, nor of use.
                for number in range(min(self._settings.producers, self.partitions(IMAGES)))
            ],
            Lane("events", self._producing(EVENTS), read_ms / 1000),
            self._watch.ask,
        )
        await asyncio.gather(*(until_connected(lane.start) for lane in self._appender.lanes))
        self._leaders, self._fetcher = leaders, fetcher
        self._watch.start()

    async def _look_at_topics(self) -> None:
        """Take over the limits that the topics have now.

        Raises:
            ConfigurationError: Something no longer fits.
            KafkaError, OSError: Kafka does not say.
        """
        async with administration(self._settings) as admin:
            found = await topics.inspect(admin, self._names)
            self._identity = await self._identify(admin)
        limits = {role: self.max_record_bytes(role) for role in self._names}
        # Partitions are those of the start: see `partitions`.
        for role, topic in found.items():
            self._topics[role] = replace(topic, partitions=self._topics[role].partitions)
        if self._appender and limits != {role: self.max_record_bytes(role) for role in self._names}:
            for lane in self._appender.lanes:
                lane.renew(self._producing(EVENTS if lane.name == "events" else IMAGES))

    def _producing(self, topic: str) -> dict[str, Any]:
        return producing(self._settings, topic, self.max_record_bytes(topic))

    def _reading(self) -> Fetcher:
        if self._fetcher is None:
            raise LogUnavailableError("The log is closed.")
        return self._fetcher

    def _asking(self) -> Leaders:
        if self._leaders is None:
            raise LogUnavailableError("The log is closed.")
        return self._leaders

    def _check_sizes(self, topic: str, records: Sequence[Record]) -> None:
        limit = self.max_record_bytes(topic)
        if any(record.size_bytes > limit for record in records):
            raise ValueError(f"a record is over the limit of {limit} bytes")
