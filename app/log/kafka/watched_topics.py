"""The topics of a running gateway: as they were at start, with the limits that they have now.

Hides what a later look at them changes: limits and the cluster's identity are those of the last
look, while partitions stay those of the start, as producers are bound to them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from app.log import KEYS
from app.log.kafka import topics
from app.log.kafka.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.admin import AIOKafkaAdminClient

    from app.log.kafka.connections import Connections
    from app.log.kafka.rules import Topic
    from app.log.kafka.settings import KafkaSettings

# A batch gathers the records that wait, up to this: the default of 16 KiB makes every image its own
# batch.
_BATCH_BYTES = 1_048_576


class WatchedTopics:
    """Topics that are created and checked by `prepare`, and watched from `start` to `stop`.

    Args:
        settings: The topics' prefix.
        connections: Where the topics are.
        on_new_limits: Called when a look has found other limits.
        must_exist: Refuse missing topics instead of creating them.

    Attributes:
        names: The name on the broker for each role (`images`, `image-events`, …).
        by_role: The topics.
        identity: The cluster's id and the topic of the events.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connections: Connections,
        on_new_limits: Callable[[], None],
        *,
        must_exist: bool = False,
    ) -> None:
        self.names = topics.names(settings.topic_prefix, shreds=settings.erasure == "shred")
        self.by_role: dict[str, Topic] = {}
        self.identity = ""
        self._settings = settings
        self._connections = connections
        self._on_new_limits = on_new_limits
        self._must_exist = must_exist
        self._watch = Watch(self._look)

    @property
    def trouble(self) -> str | None:
        """The misfit of a topic, as a clause, or None while all fit."""
        return self._watch.trouble

    def max_record_bytes(self, role: str) -> int:
        """Return the topic's own limit, or the size of one of our batches if that is smaller."""
        return min(_BATCH_BYTES, self.by_role[role].max_message_bytes)

    def partitions(self, role: str) -> int:
        """Return the number of partitions that the topic had at start.

        That of keys may come later, from another gateway: it has none until then.
        """
        if role == KEYS and role not in self.by_role:
            self.look_soon()
            return 0
        return self.by_role[role].partitions

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
            found = await topics.inspect(admin, self.names)
        else:
            found = await topics.prepare(admin, self.names, self._settings.partitions)
        return found | await self._found_keys(admin)

    async def _found_keys(self, admin: AIOKafkaAdminClient) -> dict[str, Topic]:
        """Return the topic of keys, if it is there and was not known to be."""
        known = {**self.names}
        names = await topics.with_keys(admin, known, self._settings.topic_prefix)
        added = {role: name for role, name in names.items() if role not in known}
        found = await topics.inspect(admin, added) if added else {}
        self.names.update(added)
        return found

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
            found = await topics.inspect(admin, self.names)
            self.by_role |= await self._found_keys(admin)
            self.identity = await self._identify(admin)
        before = self._limits()
        for role, topic in found.items():
            self.by_role[role] = replace(topic, partitions=self.partitions(role))
        if self._limits() != before:
            self._on_new_limits()

    def _limits(self) -> dict[str, int]:
        return {role: self.max_record_bytes(role) for role in self.by_role}

    async def _identify(self, admin: AIOKafkaAdminClient) -> str:
        cluster = await admin.describe_cluster()
        return topics.identity(cluster["cluster_id"], self.names)
