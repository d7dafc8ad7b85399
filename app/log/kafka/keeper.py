"""The division of a consumer group whose topic has one partition: who has it keeps it.

Hides what members tell each other while they join: how often the partition was given when each got
it, so that one that was cut off in between has no claim. aiokafka's own assignors give it to the
member whose id comes first, so that each one that joins may take it away, and its sticky one shares
its state between the groups of a process.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiokafka.structs import TopicPartition

_VERSION = 0
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Keeper(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka is not typed
    """Divides a group of which one member reads `partition`."""

    # The name of the protocol: a group has members of one kind.
    name = "imagegate"

    def __init__(self, partition: TopicPartition) -> None:
        self._partition = partition
        # 0 if it was never given to this member, or to another since.
        self._number = 0

    def assign(
        self, _cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Give the partition to the member that had it, or else to the first."""
        numbers = {each: _number(members[each].user_data) for each in members}
        chosen = min(members, key=lambda each: (-numbers[each], each))
        whole = [(self._partition.topic, [self._partition.partition])]
        given = b"%d" % (numbers[chosen] + 1)
        return {
            each: ConsumerProtocolMemberAssignment(
                _VERSION, *((whole, given) if each == chosen else ([], b""))
            )
            for each in members
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Tell the others whether this member had the partition, and when."""
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), b"%d" % self._number)

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember whether this member has it."""
        has_it = self._partition in assignment.partitions()
        self._number = _number(assignment.user_data) if has_it else 0


def _number(user_data: bytes | None) -> int:
    """Return the number that a member sent; 0 if it sent none."""
    return int(found[0]) if (found := _NUMBER.fullmatch(user_data or b"")) else 0
