"""Changes to the behaviour of aiokafka (0.14), for all of its clients in this process.

Its requests for metadata must not create topics: a broker with `auto.create.topics.enable`, Kafka's
own default, would recreate a deleted topic at once, with one partition and a week's retention.

And uvloop raises a `RuntimeError` where something is written to a transport that is closed
already; asyncio's own transports drop it. aiokafka expects an `OSError` there: its tasks for
metadata and for sending died of the `RuntimeError`, and its client with them (seen when connections
are reset under load). So the error is translated where it is raised.

What it lacks for signing in is in `sessions`; sockets that it leaves open are in `sockets`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiokafka import client
from aiokafka.admin import client as admin_client
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import SaslAuthenticateRequest
from aiokafka.protocol.metadata import MetadataRequest

from app.log.kafka import sessions, sockets

_send = AIOKafkaConnection.send
_asking = partial(MetadataRequest, allow_auto_topic_creation=False)


def install() -> None:
    """Change aiokafka, once: call this before a client is made; further calls do nothing."""
    AIOKafkaConnection.send = _send_or_close
    client.MetadataRequest = admin_client.MetadataRequest = _asking
    sessions.install()
    sockets.install()


def _send_or_close(connection: Any, request: Any, *arguments: Any, **options: Any) -> Any:
    try:
        answer = _send(connection, request, *arguments, **options)
        if isinstance(request, SaslAuthenticateRequest):
            answer = sessions.noting_the_end(connection, answer)
        return sockets.kept_for(connection, answer)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"The connection is closed: {error}") from error
