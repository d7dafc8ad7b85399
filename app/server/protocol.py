"""HTTP/1.1 on a connection, with bounds on time and size.

Hides gaps of uvicorn's protocol: invalid HTTP is answered in plain text, a client that is silent or
does not read stays connected for ever, connections have no limit, and all that one has sent is
parsed in one go.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

import h11
import structlog
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.api import problems
from app.api.context import INCOMPLETE, add_to_every_answer
from app.api.crowd import BEYOND, BY_PROXY, Beyond
from app.client import NOBODY
from app.errors import BadRequestError
from app.server.connections import Place
from app.server.parser import Parser
from app.server.peers import is_proxy, peer_at
from app.server.phrases import phrase_of

if TYPE_CHECKING:
    from asyncio import TimerHandle, Transport

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from app.server.connections import Connections
    from app.server.settings import ServerSettings
    from app.server.slices import Slices

logger = structlog.get_logger(__name__)

# As Apache's RequestReadTimeout and nginx's client_header_timeout, about.
_HEADERS_SECONDS = 30.0
# A connection that is closed before all of it is read is reset, which may destroy the answer on its
# way: as nginx's lingering_timeout, about. More bytes than this are in no client's buffers.
_LINGER_SECONDS = 5.0
# The first one makes a client that has closed both sides reset the connection, the second finds
# that out.
_PROBES, _PROBE_SECONDS = 2, 1.0
_LINGER_BYTES = 1_000_000


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which answers with problems, and bounds what a client may keep busy.

    Args:
        table: All connections of the process.
        slices: Those of them that have sent more than is parsed in one go.
        http: The bounds.
        options: What uvicorn gives.
    """

    flow: _Flow

    def __init__(
        self, table: Connections, slices: Slices, http: ServerSettings, **options: Any
    ) -> None:
        super().__init__(**options)
        self.conn = self._parser = Parser()
        self.peer = NOBODY
        self._table = table
        self._slices = slices
        self._http = http
        self._deadline: TimerHandle | None = None
        self._reading: TimerHandle | None = None
        # So many bytes of what the client sends are only read; None: all are parsed.
        self._lingering_bytes: int | None = None
        # What has come waits for its slice.
        self._waits = False
        # The client sends nothing more.
        self._has_ended = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect the first request's headers soon."""
        super().connection_made(transport)
        self._slices.give_way()
        self.flow = _Flow(transport)
        address = self.client[0] if self.client else ""
        self.peer = peer_at(address, self._http.proxies)
        if is_proxy(address, self._http.proxies):
            self.app_state = self.app_state | {BY_PROXY: True}
        place = self._table.add(self)
        if place is not Place.WITHIN:
            self.app_state = self.app_state | {BEYOND: Beyond(place.value)}
        self._expect_request(_HEADERS_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._table.remove(self)
        self._cancel_deadline()
        self._expect_reading(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note who has to go on now: the client or we."""
        if self._lingering_bytes is not None:
            self._lingering_bytes -= len(data)
            if self._lingering_bytes < 0:
                self.transport.close()
            return
        super().data_received(data)
        self._note_who_owes()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has closed its side; return whether our side stays open for that.

        It may have closed both: then it resets the connection once something is sent.
        """
        if self._lingering_bytes is not None or not self.transport.can_write_eof():
            # All is answered; or it is TLS, where asyncio cannot do that.
            return False
        self._has_ended = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if not self._parser.is_empty:
                self.send_400_response("The head has no end.")
            return not self._parser.is_empty
        if cycle.response_started and self._parser.answers_without_end:
            return False
        if cycle.more_body:
            cycle.scope["state"][INCOMPLETE] = True
            cycle.more_body = False
            cycle.message_event.set()
        elif cycle.scope["http_version"] == "1.1":
            self._probe(cycle, _PROBES)
        return True

    def _probe(self, cycle: RequestResponseCycle, count: int) -> None:
        """Send what a client skips while its answer has not begun; if it has left, that fails."""
        if self.cycle is not cycle or cycle.response_started or self.transport.is_closing():
            return
        event = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
        self.transport.write(self.conn.send(event) or b"")
        if count > 1:
            self.loop.call_later(_PROBE_SECONDS, self._probe, cycle, count - 1)

    def handle_events(self) -> None:
        """Parse what has come, a slice at a time; a request begins with a slice of its own."""
        if self._waits:
            return
        if (self.cycle is None or self.cycle.response_complete) and not self._slices.take():
            self._wait()
        else:
            self._parse()

    def _parse(self) -> None:
        self._parser.go_on()
        super().handle_events()
        if self._parser.has_more:
            self._wait()
        elif self.flow.is_held:
            self.flow.release()

    def _wait(self) -> None:
        self._waits = True
        self.flow.hold()
        self._slices.add(self.peer, self._go_on)

    def _go_on(self) -> None:
        self._waits = False
        if self._lingering_bytes is None and not self.transport.is_closing():
            self._parse()
            self._note_who_owes()

    def _note_who_owes(self) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        if cycle.more_body and not self.flow.read_paused and not self.flow.is_held:
            self._table.is_owing(self)
        elif not self.flow.write_paused:
            self._table.is_served(self)

    def on_response_complete(self) -> None:
        """Expect the next request's headers, unless they have come, or the rest to be read."""
        cycle = self.cycle
        super().on_response_complete()
        if self.transport.is_closing():
            self._table.is_owing(self)
        elif self.cycle is cycle and self._has_ended:
            self.transport.close()
        elif self.cycle is cycle:
            self._table.is_quiet(self)
            self._expect_request(self.timeout_keep_alive + _HEADERS_SECONDS)

    def pause_writing(self) -> None:
        """Expect the client to read."""
        super().pause_writing()
        self._table.is_owing(self)
        self._expect_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that the client has read."""
        super().resume_writing()
        self._table.is_served(self)
        self._expect_reading(None)

    def abort(self) -> None:
        """Close at once; what is to be sent is lost."""
        self.transport.abort()

    def _expect_reading(self, unread_bytes: int | None) -> None:
        """Look later whether some of these bytes were read; None: there is nothing to read."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if unread_bytes is not None:
            self._reading = self.loop.call_later(
                self._http.slow_read_seconds, self._end_if_unread, unread_bytes
            )

    def _end_if_unread(self, before_bytes: int) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        least_bytes = self._http.min_read_rate * self._http.slow_read_seconds
        if before_bytes - unread_bytes < min(least_bytes, before_bytes):
            self._table.close(self, "unread")
        else:
            self._expect_reading(unread_bytes)

    def shutdown(self) -> None:
        """Close the connection, also after an error, when h11 refuses to send."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - of no use to a client
        """Answer a request that is not valid HTTP, or too large before its body, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer to what came before the fault has no place any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        error = self._parser.refusal or BadRequestError("This is not valid HTTP/1.1.")
        request_id = uuid.uuid4().hex
        response = problems.answer(error, request_id)
        add_to_every_answer(response.headers, request_id)
        logger.info(
            "request",
            status=error.status,
            code=error.code,
            client=self.peer,
            request_id=request_id,
        )
        headers = [
            *self.server_state.default_headers,  # uvicorn's own: the date
            *response.raw_headers,
            (b"connection", b"close"),
        ]
        # Too late while a response is being sent: it is cut off.
        with contextlib.suppress(h11.LocalProtocolError):
            for event in (
                h11.Response(
                    status_code=error.status, headers=headers, reason=phrase_of(error.status)
                ),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self._end_after_answer()

    def _end_after_answer(self) -> None:
        """Send the end of the answer, and close once the client has closed, or soon."""
        self._cancel_deadline()
        self._lingering_bytes = _LINGER_BYTES
        self.flow.resume_reading()
        # With TLS the answer's own length is its end.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _expect_request(self, seconds: float) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(seconds, self._end_if_silent, self.cycle)

    def _end_if_silent(self, last_cycle: object) -> None:
        if self.cycle is last_cycle:
            self.transport.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class _Flow(FlowControl):
    """uvicorn's flow control, where bytes that wait to be parsed pause reading as well."""

    is_held = False

    def hold(self) -> None:
        self.is_held = True
        self._transport.pause_reading()

    def release(self) -> None:
        self.is_held = False
        if not self.read_paused:
            self._transport.resume_reading()

    def resume_reading(self) -> None:
        if self.is_held:
            self.read_paused = False
        else:
            super().resume_reading()
