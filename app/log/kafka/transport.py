"""aiokafka on uvloop: a connection that the other side has reset.

Hides that uvloop raises a `RuntimeError` where something is written to a transport that is closed
already; asyncio's own transports drop it. aiokafka (0.14) expects an `OSError` there: its tasks
for metadata and for sending died of it, and its client with them (seen when connections are reset
under load). It has to be a connection that broke, so it is made one where it is raised.
"""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def _send_or_close(connection: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return _send(connection, *arguments, **options)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"The connection is closed: {error}") from error


def install() -> None:
    """Have every connection of aiokafka do so."""
    AIOKafkaConnection.send = _send_or_close
