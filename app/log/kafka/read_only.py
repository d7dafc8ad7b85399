"""`ReadOnlyKafkaLog`: the log on Apache Kafka for a program beside the gateways.

Hides that it leaves no trace there: no topic is created, and no producer is opened. It needs the
right to read the topics, and no other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from app.errors import LogUnavailableError
from app.log import EVENTS, KEYS
from app.log.kafka import topics, transport
from app.log.kafka.connections import Connections
from app.log.kafka.member import Member
from app.log.kafka.reads import Reads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.log import Batch, Bounds, Fetched, Position
    from app.log.kafka.settings import KafkaSettings


class ReadOnlyKafkaLog:
    """A `ReadableLog` on a Kafka cluster.

    Raises:
        ConfigurationError: The settings of security do not fit together.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._connections = Connections(settings)
        self._names = topics.names(settings.topic_prefix)
        self._partitions: dict[str, int] = {}
        self._identity = ""
        self._reads: Reads | None = None

    @property
    def identity(self) -> str:
        """The cluster's id and the topic of the events, as a gateway has it."""
        return self._identity

    def partitions(self, topic: str) -> int:
        """Return the number of partitions that the topic had at start."""
        return self._partitions.get(topic, 0) if topic == KEYS else self._partitions[topic]

    async def start(self) -> None:
        """Connect, and check that the topics are there and may be read."""
        transport.install()
        seconds = self._settings.connect_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._look()
                self._reads = Reads(
                    self._settings, self._connections, self._names, on_failure=lambda: None
                )
                await self._reads.start(self._partitions)
        except TimeoutError as error:
            await self.stop()
            raise self._connections.unanswered(seconds) from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection."""
        reads, self._reads = self._reads, None
        if reads is not None:
            await reads.close()

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record by a direct fetch from the partition's leader."""
        return await self._reading().read(topic, position)

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition on a connection of its own."""
        return self._reading().tail(topic, partition, start)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Request the first and the next offset from the partition's leader."""
        return await self._reading().bounds(topic, partition)

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the first offset whose record was stored at a time or later, if there is one.

        Raises:
            LogUnavailableError: The log did not answer in time.
        """
        return await self._reading().offset_at(topic, partition, timestamp_ms)

    def member(self, group: str, session_seconds: float, handling_seconds: float) -> Member:
        """Return a member of a consumer group of the events, not started."""
        return Member(
            self._connections, self._names[EVENTS], group, session_seconds, handling_seconds
        )

    async def _look(self) -> None:
        while True:
            try:
                async with self._connections.administration() as admin:
                    self._names = await topics.with_keys(
                        admin, self._names, self._settings.topic_prefix
                    )
                    self._partitions = await topics.readable(admin, self._names)
                    cluster = await admin.describe_cluster()
            # The client may have chosen the one broker that is down; the next may choose another.
            except (KafkaError, OSError) as error:
                await self._connections.wait_after(error)
            else:
                self._identity = topics.identity(cluster["cluster_id"], self._names)
                return

    def _reading(self) -> Reads:
        if self._reads is None:
            raise LogUnavailableError("The log is closed.")
        return self._reads
