"""Sockets that aiokafka (0.14) leaves open, or open for too long, for all clients of this process.

- Over TLS it closes a connection by a goodbye, and the socket stays until the broker has answered:
  for 30 s where that hangs. Mostly nobody waits for it, so a program that ended its event loop
  meanwhile left the socket behind. A goodbye needs no answer (RFC 8446, section 6.1): here the
  socket is closed as soon as it was sent.
- A connection that is cancelled at the end of its TLS handshake is not known to it yet.
- `AIOKafkaClient.bootstrap` forgets its connection when it is cancelled while it waits for the
  answer to its request for metadata.
- A client that is closed while one of its tasks connects keeps that connection, which nothing
  closes any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, AIOKafkaProtocol, CloseReason
from aiokafka.errors import KafkaConnectionError

if TYPE_CHECKING:
    from collections.abc import Awaitable

_made = AIOKafkaProtocol.connection_made
_close = AIOKafkaConnection.close
_close_client = AIOKafkaClient.close
# By the future that a connection and its protocol share, which is done once the socket is closed.
_protocols: WeakKeyDictionary[asyncio.Future[None], ref[Any]] = WeakKeyDictionary()


def install() -> None:
    """Change aiokafka, once; further calls do nothing."""
    AIOKafkaProtocol.connection_made = _note
    AIOKafkaConnection.close = _close_soon
    AIOKafkaClient.close = _close_for_good


async def kept_for(connection: Any, answer: Awaitable[Any]) -> Any:
    """Return the answer to a request; a connection of no client is closed if nobody waits."""
    try:
        return await answer
    except asyncio.CancelledError:
        if connection._on_close_cb is None:
            connection.close(reason=CloseReason.SHUTDOWN)
        raise


def require_client(connection: Any) -> None:
    """Close a connection whose client was closed meanwhile.

    Raises:
        KafkaConnectionError: It was.
    """
    client = getattr(connection._on_close_cb, "__self__", None)
    if getattr(client, "_is_closed_for_good", False):
        connection.close(reason=CloseReason.SHUTDOWN)
        raise KafkaConnectionError("The client is closed.")


def _note(protocol: Any, transport: asyncio.Transport) -> None:
    _protocols[protocol._closed_fut] = ref(protocol)
    _made(protocol, transport)


def _close_soon(connection: Any, *arguments: Any, **options: Any) -> Any:
    closing = _close(connection, *arguments, **options)
    found = _protocols.get(closing) if closing is not None else None
    protocol = found() if found is not None else None
    if protocol is not None and protocol._transport is not None:
        # uvloop sends at the end of a turn of the loop what was written in it.
        connection._loop.call_soon(_abort, protocol._transport)
    return closing


def _abort(transport: asyncio.Transport) -> None:
    with contextlib.suppress(RuntimeError):  # uvloop's, where it is closed already
        transport.abort()


async def _close_for_good(client: Any) -> None:
    client._is_closed_for_good = True
    await _close_client(client)
