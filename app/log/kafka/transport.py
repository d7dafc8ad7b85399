"""What of aiokafka (0.14) has to behave in another way, in all of its clients.

Its questions for metadata must not make topics: a broker with `auto.create.topics.enable`, Kafka's
own default, would give a deleted topic back at once, with one partition and a week's retention.

And uvloop raises a `RuntimeError` where something is written to a transport that is closed
already; asyncio's own transports drop it. aiokafka expects an `OSError` there: its tasks for
metadata and for sending died of it, and its client with them (seen when connections are reset
under load). It has to be a connection that broke, so it is made one where it is raised.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiokafka import client
from aiokafka.admin import client as admin_client
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

_send = AIOKafkaConnection.send


def _send_or_close(connection: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return _send(connection, *arguments, **options)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"The connection is closed: {error}") from error


def install() -> None:
    """Have it so from now on."""
    AIOKafkaConnection.send = _send_or_close
    asking = partial(MetadataRequest, allow_auto_topic_creation=False)
    client.MetadataRequest = admin_client.MetadataRequest = asking
