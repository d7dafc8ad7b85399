"""TLS on a connection: the handshake, and the end.

Hides gaps of asyncio's. A connection is known there only after its handshake: one that never begins
it would count nowhere, and nothing would give way to others. So here each is in the table from its
first moment, as one without a request. Closing, asyncio waits for the client to close as well, half
a minute for one that does not look; and what is not sent by then is lost.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog

from app.server.peers import peer_at
from app.telemetry.metrics import HANDSHAKES_FAILED
from app.telemetry.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from app.read_again import ReadAgain
    from app.server.connections import Connections
    from app.server.protocol import HttpProtocol
    from app.server.settings import ServerSettings

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# Two or three round trips, and a key that is computed, on a phone with one bar.
_SECONDS = 15.0
# As asyncio's for plain connections. For those with TLS it would be 512 KB.
_WRITE_BUFFER_BYTES = 65_536
# Nothing tells when a transport that is closing has sent all.
_CLOSING_SECONDS = 0.2

_failures = Tally()


class Handshake(asyncio.Protocol):
    """A connection up to the end of its TLS handshake; then a protocol of HTTP takes it over.

    Args:
        contexts: The certificate to show.
        table: All connections of the process.
        http: The bounds.
        make: Makes the protocol of HTTP.
        options: What uvicorn gives to that.
    """

    def __init__(
        self,
        contexts: ReadAgain[ssl.SSLContext],
        table: Connections,
        http: ServerSettings,
        make: Callable[..., HttpProtocol],
        **options: Any,
    ) -> None:
        self._contexts = contexts
        self._table = table
        self._http = http
        self._make = make
        self._options = options
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._raw = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.peer = peer_at(str(address[0]) if address else "", self._http.proxies)
        self._table.add(self)
        # uvicorn calls `shutdown` of each when it stops.
        self._options["server_state"].connections.add(self)
        loop = asyncio.get_running_loop()
        # It has to begin here: what the client sends before it does would be lost.
        begun = _Begun(
            loop.start_tls(
                self._raw,
                self,
                self._contexts.last,
                server_side=True,
                ssl_handshake_timeout=_SECONDS,
                ssl_shutdown_timeout=self._last_bytes_seconds(),
            )
        )
        self._task = loop.create_task(self._finish(begun), name="tls-handshake")

    def data_received(self, data: bytes) -> None:
        """Keep a request that came with the last message of the handshake."""
        self._early += data

    def abort(self) -> None:
        """Close at once."""
        self._raw.abort()

    def shutdown(self) -> None:
        """Close, as the server stops."""
        self.abort()

    async def _finish(self, begun: Awaitable[asyncio.Transport | None]) -> None:
        try:
            secured = await begun
        except OSError as error:
            self._note(error)
            return
        finally:
            self._table.remove(self)
            self._options["server_state"].connections.discard(self)
        # It may have been lost, or closed by the client, meanwhile.
        if secured is None or secured.is_closing():
            self._raw.abort()
        else:
            self._hand_over(secured)

    def _hand_over(self, secured: asyncio.Transport) -> None:
        secured.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        protocol = self._make(**self._options)
        secured.set_protocol(protocol)
        protocol.connection_made(cast("asyncio.Transport", SecuredTransport(secured, self._raw)))
        if self._early:
            protocol.data_received(bytes(self._early))

    def _last_bytes_seconds(self) -> float:
        """Return how long a client that reads just fast enough takes for all that waits."""
        http = self._http
        return http.slow_read_seconds + 2 * _WRITE_BUFFER_BYTES / http.min_read_rate

    def _note(self, error: OSError) -> None:
        if isinstance(error, ssl.SSLError):
            reason = error.reason or "error"
        elif isinstance(error, ConnectionAbortedError):
            reason = "timeout"
        else:
            # Balancers look whether the port is open, every few seconds and for ever.
            return
        HANDSHAKES_FAILED.inc()
        if count := _failures.add(reason):
            logger.info("tls_handshake_failed", reason=reason, client=self.peer, count=count)


class _Begun(Awaitable[T]):
    """A coroutine that has run to its first wait already, as an eager task of Python 3.12."""

    def __init__(self, coroutine: Coroutine[Any, None, T]) -> None:
        self._coroutine = coroutine
        self._awaited = coroutine.send(None)

    def __await__(self) -> Generator[Any, None, T]:
        try:
            yield self._awaited
        except BaseException as error:  # noqa: BLE001 - as a coroutine gets it
            self._coroutine.throw(error)
        return (yield from self._coroutine.__await__())


class SecuredTransport:
    """asyncio's transport of a connection with TLS, where it is good for HTTP as it is.

    Args:
        secured: The transport.
        raw: The one below it.
    """

    def __init__(self, secured: asyncio.Transport, raw: asyncio.Transport) -> None:
        self._secured = secured
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._secured, name)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, of both transports: they go from one to the other at once."""
        return self._secured.get_write_buffer_size() + self._raw.get_write_buffer_size()

    def close(self) -> None:
        """Close once all is sent, and do not wait for the client to close as well."""
        # asyncio's transport is of no use any more once it is closed twice.
        if not self._secured.is_closing():
            self._secured.close()
        self._close_below()

    def _close_below(self) -> None:
        if not self._secured.get_write_buffer_size():
            # What waits there is sent yet.
            self._raw.close()
        elif not self._raw.is_closing():
            asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._close_below)
