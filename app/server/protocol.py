"""HTTP/1.1 on a connection, with bounds on time and size.

Hides three gaps of uvicorn's protocol: invalid HTTP is answered in plain text, a silent client
stays connected for ever, and a body may be almost all framing. The parser is h11, because the
others that uvicorn offers accept headers without end: httptools kept 200 MB of them.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.api import problems
from app.errors import BadRequestError
from app.server.target import with_path

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

# Larger than common servers allow (nginx: 4 times 8 KiB, Apache: 8 KiB a line).
MAX_HEADERS_BYTES = 32_768
# As Apache's RequestReadTimeout and nginx's client_header_timeout, about.
_HEADERS_SECONDS = 30.0
# 500,000 chunks of one byte, 3 MB on the wire, kept the event loop busy for 4.5 s.
_FRAMING_BYTES, _FRAMING_RATIO = 131_072, 2


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which answers with problems and has deadlines for headers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Connection(h11.SERVER, MAX_HEADERS_BYTES)
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect the first request's headers soon."""
        super().connection_made(transport)
        self._expect_request(_HEADERS_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Expect the next request's headers, unless they have come already."""
        cycle = self.cycle
        super().on_response_complete()
        if self.cycle is cycle and not self.transport.is_closing():
            self._expect_request(self.timeout_keep_alive + _HEADERS_SECONDS)

    def shutdown(self) -> None:
        """Close the connection, also after an error, when h11 refuses to send."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - of no use to a client
        """Answer a request that is not valid HTTP or has too large headers, and close."""
        error = BadRequestError(
            f"This is not valid HTTP/1.1, or its headers have over {MAX_HEADERS_BYTES:,} bytes."
        )
        response = problems.answer(error, uuid.uuid4().hex)
        headers = [*response.raw_headers, (b"connection", b"close")]
        # Too late while a response is being sent: it is cut off.
        with contextlib.suppress(h11.LocalProtocolError):
            for event in (
                h11.Response(
                    status_code=error.status, headers=headers, reason=error.title.encode()
                ),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _expect_request(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self._end_if_silent, self.cycle)

    def _end_if_silent(self, last_cycle: object) -> None:
        if self.cycle is last_cycle:
            self.transport.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class _Connection(h11.Connection):
    """A connection that refuses bodies of mostly framing: tiny chunks cost a hundredfold."""

    def __init__(self, role: type[h11.SERVER], max_headers_bytes: int) -> None:
        super().__init__(role, max_headers_bytes)
        self._wire_bytes = 0
        self._payload_bytes = 0

    def receive_data(self, data: bytes) -> None:
        self._wire_bytes += len(data)
        super().receive_data(data)

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._wire_bytes = self._payload_bytes = 0
            # h11's own limit counts only headers that come in pieces.
            fields = sum(len(name) + len(value) for name, value in event.headers)
            if len(event.target) + fields > MAX_HEADERS_BYTES:
                raise h11.RemoteProtocolError("the headers are too large")
            return with_path(event)
        if isinstance(event, h11.Data):
            self._payload_bytes += len(event.data)
            if self._wire_bytes > _FRAMING_RATIO * self._payload_bytes + _FRAMING_BYTES:
                raise h11.RemoteProtocolError("the body is mostly framing")
        return event
