"""The parser of a connection, h11, with bounds on what it parses.

Hides gaps of h11. It parses all that has come in one go, in Python: 256 KB of chunks of a byte took
a second. It has no limit on the number of headers, nor on the framing of a body. So it is fed in
pieces here, returns to its caller after a number of events (`has_more`), and refuses bodies that
are mostly framing. The parser is h11, because the others that uvicorn offers accept headers without
end: httptools kept 200 MB of them.
"""

from __future__ import annotations

from typing import NoReturn

import h11

from app.errors import HeadersTooLargeError, RequestError, TargetTooLongError
from app.server.target import with_path

# Larger than common servers allow (nginx: 4 times 8 KiB, Apache: 8 KiB a line).
MAX_HEADERS_BYTES = 32_768
# Its first line. As nginx's and Apache's; RFC 9110, section 4.1, asks for 8,000 at least.
MAX_TARGET_BYTES = 8_192
# Method and version beside the target.
_REST_BYTES = 64
# As Apache's LimitRequestFields; 6,000 lines kept the event loop busy for 43 ms.
MAX_HEADERS = 100
# 500,000 chunks of one byte, 3 MB on the wire, kept the event loop busy for 4.5 s. The lines
# of a trailer count as framing too.
_FRAMING_BYTES, _FRAMING_RATIO = 32_768, 2
# A chunk takes 15 µs. Clients write blocks of 1 KB and more; a few small ones are fine.
_FREE_CHUNKS, _LEAST_CHUNK_BYTES = 1_000, 256
# Events parsed in one go: 1 ms.
EVENTS = 64
# Framing is looked at before so much more of it is parsed. A body that has a length has none.
_PIECE_BYTES, _BODY_PIECE_BYTES = 4_096, 65_536


class Parser(h11.Connection):
    """A server's side of a connection.

    Attributes:
        has_more: Whether `next_event` has said that it needs data only because it has parsed enough
            in one go; call `go_on` then, some time later.
        answers_without_end: Whether the last answer has no length, as a stream has none.
        refusal: The error for a request that is refused, where it is not one of its syntax.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEADERS_BYTES)
        self.has_more = False
        self.answers_without_end = False
        self.refusal: RequestError | None = None
        self._ahead = bytearray()
        self._events_left = EVENTS
        self._is_chunked = False
        self._wire_bytes = self._payload_bytes = self._chunks = 0

    def receive_data(self, data: bytes) -> None:
        """Keep bytes that have come."""
        self._ahead += data

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come of a request that is not complete."""
        return not (self._ahead or self.trailing_data[0])

    def go_on(self) -> None:
        """Allow as many events again."""
        self.has_more = False
        self._events_left = EVENTS

    def next_event(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        """Return the next event of what has come.

        Raises:
            RemoteProtocolError: It is not valid HTTP, or beyond the bounds.
        """
        if self._events_left <= 0:
            self.has_more = True
            return h11.NEED_DATA
        while (event := self._parsed()) is h11.NEED_DATA and self._ahead:
            self._feed()
        if isinstance(event, h11.Event):
            self._events_left -= 1
        return event

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """Return the bytes of an event to send; `send` joins them."""
        if isinstance(event, h11.Response):
            self.answers_without_end = all(name != b"content-length" for name, _ in event.headers)
        return super().send_with_data_passthrough(event)

    def _feed(self) -> None:
        has_length = self.their_state is h11.SEND_BODY and not self._is_chunked
        count = _BODY_PIECE_BYTES if has_length else _PIECE_BYTES
        piece = bytes(self._ahead[:count])
        del self._ahead[:count]
        self._wire_bytes += len(piece)
        super().receive_data(piece)

    def _parsed(self) -> type[h11.NEED_DATA | h11.PAUSED] | h11.Event:
        if is_head := self.their_state is h11.IDLE:
            self._bound_target()
            self._count_lines()
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if is_head and error.error_status_hint == HeadersTooLargeError.status:
                self._refuse_headers()
            raise
        if isinstance(event, h11.Request):
            return self._begun(event)
        if isinstance(event, h11.Data):
            self._check_framing(event)
        elif event is h11.NEED_DATA and self._is_chunked and self.their_state is h11.SEND_BODY:
            # All that is left of a body then is an incomplete line, or an incomplete trailer.
            self._count_lines()
        return event

    def _bound_target(self) -> None:
        """Refuse a first line that is too long, whether its end has come or not."""
        end = self.trailing_data[0].find(b"\n", 0, MAX_TARGET_BYTES + _REST_BYTES)
        if end < 0 and len(self.trailing_data[0]) >= MAX_TARGET_BYTES + _REST_BYTES:
            self._refuse_target()

    def _refuse_target(self) -> NoReturn:
        self.refusal = TargetTooLongError(
            f"The path and the query have over {MAX_TARGET_BYTES:,} bytes."
        )
        raise h11.RemoteProtocolError("the target is too long")

    def _refuse_headers(self) -> NoReturn:
        self.refusal = HeadersTooLargeError(
            f"The headers have over {MAX_HEADERS_BYTES:,} bytes or {MAX_HEADERS} lines."
        )
        raise h11.RemoteProtocolError("the headers are too large, or too many")

    def _count_lines(self) -> None:
        """Refuse too many headers before they are parsed, which is what costs."""
        head = self.trailing_data[0].partition(b"\r\n\r\n")[0]
        if head.count(b"\n") > MAX_HEADERS:
            self._refuse_headers()

    def _begun(self, request: h11.Request) -> h11.Request:
        self._wire_bytes = self._payload_bytes = self._chunks = 0
        self._is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        if len(request.target) > MAX_TARGET_BYTES:
            self._refuse_target()
        # h11's own limit counts only headers that come in pieces.
        fields = sum(len(name) + len(value) for name, value in request.headers)
        if len(request.target) + fields > MAX_HEADERS_BYTES:
            self._refuse_headers()
        return with_path(request)

    def _check_framing(self, data: h11.Data) -> None:
        self._payload_bytes += len(data.data)
        self._chunks += data.chunk_start
        if self._wire_bytes > _FRAMING_RATIO * self._payload_bytes + _FRAMING_BYTES:
            raise h11.RemoteProtocolError("the body is mostly framing")
        if self._chunks > _FREE_CHUNKS + self._payload_bytes / _LEAST_CHUNK_BYTES:
            raise h11.RemoteProtocolError("the chunks of the body are too small")
