"""The reading side of a log on Kafka: a client of its own, and who answers it.

Hides what has to be there before the first read: brokers, metadata, and a leader of each partition
that knows it is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient

from app.errors import LogUnavailableError
from app.log.kafka.fetch import Fetcher
from app.log.kafka.leaders import Leaders

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from app.log import Batch, Bounds, Fetched, Position
    from app.log.kafka.connections import Connections
    from app.log.kafka.settings import KafkaSettings

# A read is sent again when a broker has not answered within this part of the read's time.
_READ_ATTEMPTS = 3


class Reads:
    """Reads the topics `names`, by role; start it before use, close it after.

    Attributes:
        client: The client, for requests of other kinds.
        leaders: The leaders, as it knows them.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connections: Connections,
        names: Mapping[str, str],
        on_failure: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._names = names
        self._on_failure = on_failure
        # Those that are there.
        self._roles: set[str] = set()
        self.client: Any = AIOKafkaClient(**connections.options("reads", request_ms(settings)))
        self.leaders = Leaders(self.client, settings.read_timeout_seconds, on_failure)
        self._fetcher = Fetcher(
            self.client, self.leaders, settings.read_connections, settings.read_timeout_seconds
        )

    async def start(self, partitions: Mapping[str, int]) -> None:
        """Connect, and wait until each partition has a leader; the caller bounds the time.

        Args:
            partitions: The number of partitions, by role.
        """
        await self._connections.until_connected(self.client.bootstrap)
        await self.follow(partitions)

    async def follow(self, partitions: Mapping[str, int]) -> None:
        """Read these topics, and no others, once each partition has a leader.

        Args:
            partitions: The number of partitions, by role.
        """
        new, self._roles = partitions.keys() - self._roles, set(partitions)
        if new:
            await self.client.set_topics([self._names[role] for role in partitions])
        # Metadata may name a leader that does not know it yet: only its own answer counts.
        for role in new:
            for partition in range(partitions[role]):
                await self.bounds(role, partition)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read one record by a direct fetch from the partition's leader."""
        return await self._fetcher.read(self._name(topic), position)

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition on a connection of its own."""
        return self._fetcher.tail(self._name(topic), partition, start)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Request the first and the next offset from the partition's leader."""
        return await self._fetcher.bounds(self._name(topic), partition)

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Request the first offset of a time or later from the partition's leader."""
        name = self._name(topic)
        return await self.leaders.insist(
            lambda: self.leaders.offset_at(name, partition, timestamp_ms)
        )

    def _name(self, topic: str) -> str:
        name = self._names[topic]
        if topic not in self._roles:
            self._on_failure()
            raise LogUnavailableError(f"There is no topic {name} yet.")
        return name


def request_ms(settings: KafkaSettings) -> int:
    """Return how long a broker may take for one request."""
    return int(settings.read_timeout_seconds * 1000 / _READ_ATTEMPTS)
