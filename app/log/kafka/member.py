"""The membership of a process in a consumer group that follows the events.

Hides the group protocol of Kafka. The events have one partition: of the members one has the
*turn*, the others wait for it. It keeps the turn while others join (`keeper`); when it leaves or is
gone, the next one gets it. What is committed is an offset, with a text that tells more about it.

aiokafka's coordinator is used without its consumer: that would fetch the events too, and skip one
that it finds too large (#1173). Its own limit on the time between two polls is not used either: its
heartbeat leaves the group by itself then, and if the group is being divided just at that time, the
coordinator ends (seen).

Source: https://kafka.apache.org/protocol#The_Messages_JoinGroup, KIP-62, KIP-211.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from app.errors import ConfigurationError, LogUnavailableError, TurnLostError
from app.log.kafka.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from app.log.kafka.connections import Connections

T = TypeVar("T")

# A member says three times in a session that it is alive, as Kafka's documentation advises.
_HEARTBEATS = 3
# How long a request to the group may take, leader changes of its topic included.
_REQUEST_SECONDS = 10.0
# Leaving is one request; the broker notices a member that is gone by itself.
_LEAVE_SECONDS = 3.0
# Between two looks for an error of the coordinator, which announces none.
_LOOK_SECONDS = 1.0


class Member(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    """A member of `group`; start it before use, stop it after.

    Args:
        connections: Where the group is.
        topic: The topic of the events, by its name on the broker.
        group: The group's id.
        session_seconds: How long a member that is gone still has the turn.
        handling_seconds: How long it may take from one `asking` to the next.
    """

    def __init__(
        self,
        connections: Connections,
        topic: str,
        group: str,
        session_seconds: float,
        handling_seconds: float,
    ) -> None:
        self._connections = connections
        self._events = TopicPartition(topic, 0)
        self._group = group
        self._session_ms = int(session_seconds * 1000)
        self._handling_seconds = handling_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._client: Any = None
        self._coordinator: Any = None
        self._subscription: Any = None
        self._keeper = Keeper(self._events)
        # Set when the turn comes or goes.
        self._changed = asyncio.Event()
        # Counts the turns; 0 while another member has it.
        self._turns = 0
        self.turn = 0

    async def start(self) -> None:
        """Connect, and begin to join; the caller bounds the time."""
        options = self._connections.options("reader", int(_REQUEST_SECONDS * 1000))
        self._client = AIOKafkaClient(**options)
        await self._connections.until_connected(self._client.bootstrap)
        await self._client.set_topics([self._events.topic])
        self._join()

    async def stop(self) -> None:
        """Leave the group, so that another member need not wait for the end of the session."""
        self._end_timer()
        if self._leaving is not None:
            await asyncio.wait({self._leaving})
        await self._leave()
        if self._client is not None:
            await self._client.close()

    def asking(self) -> None:
        """Note that the process asks for more: it is neither stuck nor gone."""
        self._end_timer()
        if self._coordinator is None:
            self._join()

    def handling(self) -> None:
        """Note that the process handles what it got, which may take `handling_seconds`."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._handling_seconds, self._give_up)

    async def await_turn(self) -> int:
        """Wait until this member has the turn, and return its number.

        Raises:
            ConfigurationError: The brokers do not allow it to be a member.
        """
        while not self.turn:
            await self.await_change(_LOOK_SECONDS)
        return self.turn

    async def await_change(self, seconds: float) -> None:
        """Wait until the turn comes or goes, but not longer than so many seconds.

        Raises:
            ConfigurationError: See `await_turn`.
        """
        self.check()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        self.check()

    @property
    def changed(self) -> asyncio.Event:
        """The event that is set when the turn comes or goes after this call."""
        return self._changed

    async def committed(self) -> tuple[int, str] | None:
        """Return the offset and the text that the group has committed, or None.

        Raises:
            LogUnavailableError: The brokers did not say in time.
        """
        asking = self._coordinator.fetch_committed_offsets([self._events])
        found = (await self._insist(asking)).get(self._events)
        return (found.offset, found.metadata) if found else None

    async def commit(self, turn: int, offset: int, text: str) -> None:
        """Commit an offset in a turn.

        Raises:
            TurnLostError: The turn has ended, and another member may have it.
            LogUnavailableError: The brokers did not confirm it in time.
        """
        if turn != self.turn:
            raise TurnLostError
        assignment = self._subscription.subscription.assignment
        offsets = {self._events: OffsetAndMetadata(offset, text)}
        try:
            await self._insist(self._coordinator.commit_offsets(assignment, offsets))
        except CommitFailedError as error:
            raise TurnLostError from error

    # The coordinator calls the methods below.

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """End the turn: the group is being divided again."""
        self._end_turn()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin a turn, if the partition of the events is among those assigned."""
        if self._events in set(assigned):
            self._turns += 1
            self._change(self._turns)

    def _join(self) -> None:
        self._subscription = SubscriptionState()
        # There is no fetcher whose waiters an error would have to reach.
        self._subscription.register_fetch_waiters(set())
        # As if it polled all the time.
        self._subscription._fetch_count = 1
        self._subscription.subscribe({self._events.topic}, self)
        self._coordinator = GroupCoordinator(
            self._client,
            self._subscription,
            group_id=self._group,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=self._session_ms // _HEARTBEATS,
            enable_auto_commit=False,
            assignors=(self._keeper,),
            rebalance_timeout_ms=self._session_ms,
        )

    def _give_up(self) -> None:
        self._leaving = asyncio.create_task(self._leave(), name="leave-group")

    async def _leave(self) -> None:
        coordinator, self._coordinator = self._coordinator, None
        self._end_turn()
        if coordinator is not None:
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await coordinator.close()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end_turn(self) -> None:
        if self.turn:
            self._change(0)

    def _change(self, turn: int) -> None:
        self.turn = turn
        self._changed.set()
        self._changed = asyncio.Event()

    def check(self) -> None:
        """Look whether the coordinator has met an error, and join again if it has ended.

        Raises:
            ConfigurationError: See `await_turn`.
        """
        if self._coordinator is None:
            return
        try:
            self._coordinator.check_errors()
        except GroupAuthorizationFailedError as error:
            raise ConfigurationError(
                f"Kafka does not allow the group {self._group}. Remedy: kafka-acls.sh"
                " --bootstrap-server … --add --allow-principal User:… --operation Read --group"
                f" {self._group}; look for a Deny rule too."
            ) from error
        except InconsistentGroupProtocolError as error:
            raise ConfigurationError(
                f"The group {self._group} has members that are no readers of images: use another."
            ) from error
        except InvalidSessionTimeoutError as error:
            raise ConfigurationError(
                f"The brokers do not allow a session of {self._session_ms / 1000:g} seconds: see"
                " group.min.session.timeout.ms and group.max.session.timeout.ms."
            ) from error
        except KafkaError:
            if self._coordinator._coordination_task.done():
                self._end_turn()
                self._join()

    async def _insist(self, asking: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                return await asking
        except CommitFailedError:
            raise
        except (TimeoutError, KafkaError) as error:
            raise LogUnavailableError("Kafka gave no certain answer in time.") from error
