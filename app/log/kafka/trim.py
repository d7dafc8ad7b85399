"""Trimming: deleting the records at the beginning of a partition.

Hides the DeleteRecords request.

Source: https://kafka.apache.org/protocol#The_Messages_DeleteRecords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.errors import NoError, OffsetOutOfRangeError, PolicyViolationError, for_code
from aiokafka.protocol.admin import DeleteRecordsRequest

if TYPE_CHECKING:
    from aiokafka.client import AIOKafkaClient


async def trim(
    client: AIOKafkaClient,
    leader: int,
    topic: str,
    partition: int,
    before: int,
    timeout_seconds: float,
) -> None:
    """Have the leader of a partition delete the records below the offset `before`.

    Raises:
        ValueError: `before` is beyond the end, or the topic's policy forbids it.
        KafkaError: The attempt failed; another may succeed.
    """
    request = DeleteRecordsRequest([(topic, [(partition, before)])], int(timeout_seconds * 1000))
    response = await client.send(leader, request)
    error = for_code(response.topics[0][1][0][2])
    if error in (OffsetOutOfRangeError, PolicyViolationError):
        raise ValueError(error.description)
    if error is not NoError:
        raise error
