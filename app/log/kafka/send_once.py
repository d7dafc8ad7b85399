"""A producer that sends no record twice over connections.

Hides how. aiokafka sends a batch again when the connection was lost before the answer came; the
first copy may still be under way, and be written after the second one (seen with a proxy that held
it). In a compacted topic the later copy counts: compaction then removes the acknowledged one, and a
copy that is written after a tombstone brings the key back. So a lost answer fails the batch.

A batch is still sent again after an answer: the broker has no other copy then. That is private API,
as in `abandon`.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError


def send_once(producer: Any) -> None:
    """Have a started producer fail a batch whose answer was lost."""
    client = producer.client
    send = client.send

    async def attempt(*args: Any, **options: Any) -> Any:
        try:
            return await send(*args, **options)
        # There was no connection: nothing has been sent.
        except NodeNotReadyError:
            raise
        except KafkaError as error:
            lost = KafkaConnectionError(f"the answer was lost: {error!r}")
            # The sender asks the error whether to try again.
            lost.retriable = False
            raise lost from error

    client.send = attempt
