"""The leader of each partition, and its answer on the partition's bounds.

Hides that metadata may be old: it is read again until the answer is certain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from app.errors import LogUnavailableError, RecordMissingError
from app.log import Bounds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiokafka.client import AIOKafkaClient

T = TypeVar("T")

# https://kafka.apache.org/protocol#The_Messages_ListOffsets
_LATEST, _EARLIEST = -1, -2
# We have no transactions, and another program's open one must not hold back the rest.
READ_UNCOMMITTED = 0
# A new topic has its leaders after up to 0.9 s.
BACKOFF_SECONDS = 0.1
# Partitions that another program has added are unknown here until metadata is read again, which
# clients with invented addresses must not cause more often than this.
_METADATA_SECONDS = 1.0


class UncertainError(Exception):
    """The answer proves nothing: send the request again."""


class Leaders:
    """Leaders as the brokers of `client` name them; the caller closes it.

    Args:
        client: A bootstrapped client.
        timeout_seconds: Bound for `insist`.
        on_failure: Called when there was no certain answer in that time.
    """

    def __init__(
        self,
        client: AIOKafkaClient,
        timeout_seconds: float,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._on_failure = on_failure
        self._looked_at = -_METADATA_SECONDS
        self._look: asyncio.Task[bool] | None = None

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
                    except (UncertainError, KafkaError, OSError) as error:
                        cause = error
                    await self._client.force_metadata_update()
                    await asyncio.sleep(BACKOFF_SECONDS)
        except TimeoutError:
            self._on_failure()
            raise LogUnavailableError("Kafka gave no certain answer in time.") from cause

    async def leader(self, topic: str, partition: int) -> int:
        """Return the node that leads a partition, by the metadata at hand.

        Raises:
            RecordMissingError: The topic has no such partition.
            UncertainError: There is no leader, or no broker answers with metadata.
        """
        if self._lacks(topic, partition):
            # All callers that wait share one look, which begins after each of them came.
            look = self._look or asyncio.create_task(self._look_again())
            self._look = look
            await asyncio.wait({look})
            if not look.result():
                raise UncertainError("no broker answers with metadata")
            if self._lacks(topic, partition):
                raise RecordMissingError("The topic has no such partition.")
        leader = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if leader is None or leader == -1:
            raise UncertainError("no leader")
        return int(leader)

    async def _look_again(self) -> bool:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._looked_at + _METADATA_SECONDS - loop.time())
        self._looked_at, self._look = loop.time(), None
        return bool(await self._client.force_metadata_update())

    async def refresh(self) -> None:
        """Read metadata again.

        Raises:
            UncertainError: No broker answers.
        """
        if not await self._client.force_metadata_update():
            raise UncertainError("no broker answers with metadata")

    def _lacks(self, topic: str, partition: int) -> bool:
        partitions = self._client.cluster.partitions_for_topic(topic)
        return bool(partitions) and partition not in partitions

    def followers(self, topic: str, partition: int) -> list[int]:
        """Return the other replicas of a partition whose brokers are known."""
        cluster = self._client.cluster
        found = cluster._partitions.get(topic, {}).get(partition)
        live = {broker.nodeId for broker in cluster.brokers()}
        return [node for node in found.replicas if node in live - {found.leader}] if found else []

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Request the first and the next offset from the leader that metadata names now."""
        start = await self._list_offset(topic, partition, _EARLIEST)
        return Bounds(start, await self._list_offset(topic, partition, _LATEST))

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the first offset whose record is of a time or later; None if there is none."""
        offset = await self._list_offset(topic, partition, timestamp_ms)
        return None if offset < 0 else offset

    async def _list_offset(self, topic: str, partition: int, timestamp: int) -> int:
        request = OffsetRequest(-1, READ_UNCOMMITTED, [(topic, [(partition, timestamp)])])
        response = await self._client.send(await self.leader(topic, partition), request)
        _, error_code, _, offset = response.topics[0][1][0]
        if error_code:
            raise UncertainError(f"error code {error_code}")
        return int(offset)
