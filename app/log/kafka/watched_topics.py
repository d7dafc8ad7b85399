"""The topics of a running gateway: as they were at start, with the limits that they have now.

Hides what a later look at them changes: limits and the cluster's identity are those of the last
look, and an optional topic is there if that look has found it, while partitions stay those of the
first look, as producers are bound to them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import KafkaError

from app.log.kafka import rules, topics
from app.log.kafka.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiokafka.admin import AIOKafkaAdminClient

    from app.log.kafka.connections import Connections
    from app.log.kafka.rules import Topic
    from app.log.kafka.settings import KafkaSettings

logger = structlog.get_logger(__name__)

# A batch gathers the records that wait, up to this: the default of 16 KiB makes every image its own
# batch.
_BATCH_BYTES = 1_048_576


class WatchedTopics:
    """Topics that are created and checked by `prepare`, and watched from `start` to `stop`.

    Args:
        settings: The topics' prefix.
        connections: Where the topics are.
        on_look: Called after each look, with whether it has found other limits.
        must_exist: Refuse missing topics instead of creating them.

    Attributes:
        names: The name on the broker for each role (`images`, `image-events`, …).
        by_role: The topics that are there.
        identity: The cluster's id and the topic of the events.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connections: Connections,
        on_look: Callable[[bool], Awaitable[None]],
        *,
        must_exist: bool = False,
    ) -> None:
        self.names = topics.names(settings.topic_prefix)
        self.by_role: dict[str, Topic] = {}
        self.identity = ""
        self._settings = settings
        self._connections = connections
        self._on_look = on_look
        self._optional = topics.optional(settings)
        self._must_exist = must_exist
        self._watch = Watch(self._look)

    @property
    def trouble(self) -> str | None:
        """The misfit of a topic, as a clause, or None while all fit."""
        return self._watch.trouble

    def max_record_bytes(self, role: str) -> int:
        """Return the topic's own limit, or the size of one of our batches if that is smaller."""
        topic = self.by_role.get(role)
        return min(_BATCH_BYTES, topic.max_message_bytes) if topic else _BATCH_BYTES

    def segment_seconds(self, role: str) -> float:
        """Return how long the topic writes to one segment before a record goes to the next."""
        topic = self.by_role.get(role)
        return topic.segment_ms / 1000 if topic else rules.DAY_MS / 1000

    def partitions(self, role: str) -> int:
        """Return the number of partitions that the topic had at start."""
        return self.by_role[role].partitions if role in self.by_role else 0

    async def prepare(self) -> None:
        """Create the missing topics, if they may be missing, and check all, until a broker answers.

        Raises:
            ConfigurationError: A topic does not fit, is missing, or cannot be created.
        """
        while True:
            try:
                async with self._connections.administration() as admin:
                    self.by_role = await self._prepared(admin)
                    self.identity = await self._identify(admin)
            # The client may have chosen the one broker that is down; the next may choose another.
            except (KafkaError, OSError) as error:
                await self._connections.wait_after(error)
            else:
                return

    async def _prepared(self, admin: AIOKafkaAdminClient) -> dict[str, Topic]:
        if self._must_exist:
            return await topics.inspect(admin, self.names, self._optional)
        partitions = self._settings.partitions
        return await topics.prepare(admin, self.names, partitions, self._optional)

    def start(self) -> None:
        """Start watching, in the background."""
        self._watch.start()

    async def stop(self) -> None:
        """Stop watching."""
        await self._watch.stop()

    def look_soon(self) -> None:
        """Look at the topics soon: an append has failed."""
        self._watch.ask()

    async def _look(self) -> None:
        """Apply the limits that the topics have now.

        Raises:
            ConfigurationError: Something no longer fits.
            KafkaError, OSError: Kafka does not answer.
        """
        async with self._connections.administration() as admin:
            found = await topics.inspect(admin, self.names, self._optional)
            self.identity = await self._identify(admin)
        before = self._limits()
        for role in self.by_role.keys() - found.keys():
            logger.warning("kafka_topic_missing", topic=self.by_role.pop(role).name)
        for role, topic in found.items():
            if role not in self.by_role:
                logger.info("kafka_topic_found", topic=topic.name)
            partitions = self.partitions(role) or topic.partitions
            self.by_role[role] = replace(topic, partitions=partitions)
        after = self._limits()
        await self._on_look(any(after[role] != before.get(role, after[role]) for role in after))

    def _limits(self) -> dict[str, int]:
        return {role: self.max_record_bytes(role) for role in self.by_role}

    async def _identify(self, admin: AIOKafkaAdminClient) -> str:
        cluster = await admin.describe_cluster()
        return topics.identity(cluster["cluster_id"], self.names)
