"""Cursors: the committed offsets of consumer groups that have no members.

Hides the OffsetCommit and OffsetFetch requests, and which broker coordinates a group.

Source: https://kafka.apache.org/protocol#The_Messages_OffsetCommit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.client import CoordinationType
from aiokafka.errors import for_code
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

if TYPE_CHECKING:
    from aiokafka.client import AIOKafkaClient

# A group without members has no generation. The broker stores its offsets for
# offsets.retention.minutes after its last commit (KIP-211).
_NO_GENERATION, _NO_MEMBER = -1, ""
_BROKERS_RETENTION = -1


async def commit(
    client: AIOKafkaClient, cursor: str, topic: str, partition: int, offset: int
) -> None:
    """Commit an offset for the group `cursor`.

    Raises:
        KafkaError: The attempt failed; another may succeed.
    """
    request = OffsetCommitRequest(
        cursor,
        _NO_GENERATION,
        _NO_MEMBER,
        _BROKERS_RETENTION,
        [(topic, [(partition, offset, "")])],
    )
    response = await client.send(await _coordinator(client, cursor), request)
    raise_for(response.topics[0][1][0][1])


async def committed(client: AIOKafkaClient, cursor: str, topic: str, partition: int) -> int | None:
    """Return the offset that the group `cursor` has committed, or None.

    Raises:
        KafkaError: The attempt failed; another may succeed.
    """
    request = OffsetFetchRequest(cursor, [(topic, [partition])])
    response = await client.send(await _coordinator(client, cursor), request)
    raise_for(response.error_code)
    _, offset, _, error_code = response.topics[0][1][0]
    raise_for(error_code)
    return None if offset < 0 else int(offset)


def raise_for(error_code: int) -> None:
    """Raise aiokafka's error for a code of the protocol, unless it is 0, none."""
    if error_code:
        raise for_code(error_code)


async def _coordinator(client: AIOKafkaClient, cursor: str) -> int:
    return int(await client.coordinator_lookup(CoordinationType.GROUP, cursor))
