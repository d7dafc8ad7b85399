"""Closing an aiokafka producer at once, whatever its broker does.

Hides how. `AIOKafkaProducer.stop()` waits for the broker without end, and after a cancelled
`stop()` the sender lives on and may still write, with its futures pending for ever (aiokafka 0.14;
#1101). So its connections are closed, its sender is cancelled, and the records that it holds fail.
All of that is private API, hence the tight pin in pyproject.toml.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any

from aiokafka.errors import KafkaConnectionError

# A cancelled sender ends within its back-off of 0.1 s, unless it waits for metadata.
_SENDER_STEPS, _SENDER_STEP_SECONDS = 10, 0.2


async def abandon(producer: Any) -> None:
    """Close a producer; every future that its `send` returned is resolved on return."""
    # Its finalizer would warn of a producer that was not stopped.
    producer._closed = True
    client = producer.client
    if client._sync_task is not None:
        client._sync_task.cancel()
    _close_connections(client)
    sender = producer._sender.sender_task
    if sender is not None:
        await _end_sender(sender, client)
    _fail_held(producer._message_accumulator)
    _close_connections(client)


async def _end_sender(sender: asyncio.Task[None], client: Any) -> None:
    sender.cancel()
    for _ in range(_SENDER_STEPS):
        # Nothing resolves this future any more, and the sender's requests wait for it.
        metadata = client._md_update_fut
        if metadata is not None and not metadata.done():
            metadata.set_result(False)
        done, _ = await asyncio.wait({sender}, timeout=_SENDER_STEP_SECONDS)
        if done:
            break
    else:
        sender.cancel()
        await asyncio.wait({sender}, timeout=_SENDER_STEP_SECONDS)
    if sender.done() and not sender.cancelled():
        sender.exception()


def _fail_held(accumulator: Any) -> None:
    # A batch that waits to be sent again has a callback that removes it from the pending ones.
    accumulator._pending_batches.update(chain(*accumulator._batches.values()))
    batches = list(accumulator._pending_batches)
    accumulator.fail_all(KafkaConnectionError("given up"))
    for batch in batches:
        # asyncio reports a failed future that nothing waits for, unless its exception is read.
        for future in (batch.future, batch._drain_waiter):
            if future.done() and not future.cancelled():
                future.exception()


def _close_connections(client: Any) -> None:
    for connection in list(client._conns.values()):
        connection.close()
