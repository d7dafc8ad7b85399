"""`ReadOnlyKafkaLog`: the log on Apache Kafka for a program beside the gateways.

Hides that it leaves no trace there: no topic is created, and no producer is opened. It needs the
right to read the topics, and no other.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from app.errors import ConfigurationError, LogUnavailableError
from app.log import EVENTS
from app.log.kafka import topics, transport
from app.log.kafka.connections import Connections
from app.log.kafka.member import Member
from app.log.kafka.reads import Reads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.log import Batch, Bounds, Fetched, Position
    from app.log.kafka.settings import KafkaSettings

# Readers of many images at once ask for a topic that is missing by the hundred.
_LOOK_SECONDS = 2.0


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
        self._looked_at = -_LOOK_SECONDS

    @property
    def identity(self) -> str:
        """The cluster's id and the topic of the events, as a gateway has it."""
        return self._identity

    def partitions(self, topic: str) -> int:
        """Return the number of partitions that the topic had at first; 0 while it is missing."""
        return self._partitions.get(topic, 0)

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
        await self._find(topic)
        return await self._reading().read(topic, position)

    async def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition on a connection of its own."""
        await self._find(topic)
        async with aclosing(self._reading().tail(topic, partition, start)) as tail:
            async for batch in tail:
                yield batch

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Request the first and the next offset from the partition's leader."""
        await self._find(topic)
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
                    self._partitions = await topics.readable(admin, self._names)
                    cluster = await admin.describe_cluster()
            # The client may have chosen the one broker that is down; the next may choose another.
            except (KafkaError, OSError) as error:
                await self._connections.wait_after(error)
            else:
                self._identity = topics.identity(cluster["cluster_id"], self._names)
                return

    async def _find(self, topic: str) -> None:
        """Look for a topic that was missing: a gateway may have created it since.

        Raises:
            LogUnavailableError: Kafka did not answer in time, or does not let the topic be read.
        """
        now = asyncio.get_running_loop().time()
        if topic in self._partitions or now < self._looked_at + _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            async with (
                asyncio.timeout(self._settings.read_timeout_seconds),
                self._connections.administration() as admin,
            ):
                self._partitions = await topics.readable(admin, self._names)
                await self._reading().follow(self._partitions)
        except (KafkaError, OSError, TimeoutError, ConfigurationError) as error:
            raise LogUnavailableError(f"The topic {self._names[topic]} cannot be read.") from error

    def _reading(self) -> Reads:
        if self._reads is None:
            raise LogUnavailableError("The log is closed.")
        return self._reads
