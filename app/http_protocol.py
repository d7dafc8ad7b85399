"""The bytes of a connection before they are a request.

Hides what uvicorn's protocol leaves open: what is no HTTP is answered in plain text, and a client
that connects and says nothing stays for ever. h11 is the parser, as the others that uvicorn knows
take headers without end: 200 MB were sent to httptools, and kept.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from app import problems
from app.errors import BadRequestError

if TYPE_CHECKING:
    from asyncio import Transport

# Larger than what common servers take (nginx: 4 times 8 KiB, Apache: 8 KiB a line).
MAX_HEADERS_BYTES = 32_768
# As Apache's RequestReadTimeout and nginx's client_header_timeout, about.
_HEADERS_SECONDS = 30.0


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with problems for answers and a deadline for the first request."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect the first request's headers soon."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(_HEADERS_SECONDS, self._end_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._deadline.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has too large headers, and close."""
        error = BadRequestError(f"{msg} Headers may have {MAX_HEADERS_BYTES:,} bytes at most.")
        response = problems.answer(error, uuid.uuid4().hex)
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=error.status, headers=headers, reason=error.title.encode()),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _end_if_silent(self) -> None:
        if cast("object", self.scope) is None:
            self.transport.close()
