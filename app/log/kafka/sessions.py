"""Signing in by SASL: what aiokafka (0.14) leaves out of it, for all connections of this process.

- A broker answers a token that it refuses with the reason, and with the error itself only once
  the client has sent one byte more (RFC 7628, section 3.2.3). aiokafka takes the reason for
  success, and its requests then fail one by one.
- A broker with `connections.max.reauth.ms` says how long the session lasts (KIP-368), and cuts the
  connection at the first request after that. aiokafka does not sign in again (#1015): so a
  connection whose session is about to end gets no further requests, and is closed after its last
  answer, while the next request opens another.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection, CloseReason, OAuthAuthenticator
from aiokafka.errors import SaslAuthenticationFailed

from app.log.kafka import sockets
from app.log.kafka.security import Security

if TYPE_CHECKING:
    from collections.abc import Awaitable

_connect = AIOKafkaConnection.connect
_connected = AIOKafkaConnection.connected
_step = OAuthAuthenticator.step
# What a client says to a reason for a refusal (RFC 7628, section 3.2.3).
_HEARD = b"\x01"
# Kafka's own clients sign in again after 85 to 95 % of it.
_USED_RATIO = 0.85


def install() -> None:
    """Change aiokafka, once; further calls do nothing."""
    AIOKafkaConnection.connect = _prepare_and_connect
    AIOKafkaConnection.connected = _is_usable
    OAuthAuthenticator.step = _hear_the_reason


async def noting_the_end(connection: Any, answer: Awaitable[Any]) -> Any:
    """Return the answer to a SaslAuthenticate request, after noting when the session ends."""
    response = await answer
    lifetime_ms = getattr(response, "session_lifetime_ms", 0)
    if lifetime_ms > 0:
        connection._session_ends_at = time.monotonic() + lifetime_ms / 1000 * _USED_RATIO
    return response


async def _prepare_and_connect(connection: Any) -> Any:
    security = connection._sasl_oauth_token_provider
    if isinstance(security, Security):
        await security.prepare(connection)
    try:
        streams = await _connect(connection)
    except BaseException as error:  # cancelled, too
        connection.close()
        if isinstance(error, SaslAuthenticationFailed) and isinstance(security, Security):
            security.refused()
        raise
    sockets.require_client(connection)
    return streams


async def _hear_the_reason(authenticator: Any, payload: bytes | None) -> tuple[bytes, bool] | None:
    if not (authenticator._token_sent and payload):
        step: tuple[bytes, bool] | None = await _step(authenticator, payload)
        return step
    if getattr(authenticator, "_has_heard", False):
        raise SaslAuthenticationFailed("the broker refuses the token")
    authenticator._has_heard = True
    return _HEARD, True


def _is_usable(connection: Any) -> bool:
    if not _connected(connection):
        return False
    if time.monotonic() < getattr(connection, "_session_ends_at", math.inf):
        return True
    _retire(connection)
    return False


def _retire(connection: Any) -> None:
    """Close a connection once nothing waits for an answer on it."""
    if not connection._requests:
        connection.close(reason=CloseReason.SHUTDOWN)
    elif not getattr(connection, "_is_retired", False):
        connection._is_retired = True
        # Its client forgets the connection now: the future keeps it until the answer is there.
        *_, last = connection._requests[-1]
        last.add_done_callback(lambda _: connection.close(reason=CloseReason.SHUTDOWN))
