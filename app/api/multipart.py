"""The parts of a form, parsed while its body arrives.

Hides the syntax of multipart bodies (RFC 2046, section 5.1.1; RFC 7578): the delimiter is searched
for with `bytes.find`, and no byte is looked at by itself. So the worst body costs 5 ms a megabyte,
where python-multipart needs 300 and werkzeug 450 (docs/architecture.md, Decisions). The boundary
within a part is refused, as it may not occur there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from app.api.parameters import filename_of, parse_parameters
from app.errors import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# RFC 2046 allows 70. Programs that write longer ones get by elsewhere.
_MAX_BOUNDARY_BYTES = 256
# An upload has three: the file and two options. The rest is room for other fields of a form.
_MAX_PARTS = 32
# White space between a boundary and the end of its line, which gateways of mail leave there.
_MAX_PADDING_BYTES = 100
# Of one part: a name of 255 characters has 2,300 bytes where it is percent-encoded UTF-8.
_MAX_HEADER_BYTES = 4_096
# Lines of a name (RFC 9110, section 5.6.2), a colon and whatever is no line end.
_HEADERS = re.compile(rb"(?:[!#-'*+.0-9A-Z^-z|~-]+:[^\r\n]*(?:\r\n|\Z))*")
_DISPOSITION = re.compile(rb"^content-disposition:(.*)", re.IGNORECASE | re.MULTILINE)
_DIGEST = re.compile(rb"^((?:content|repr)-digest):(.*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a part.

    Attributes:
        name: The field's; empty if there is none.
        filename: Whatever the client claims, None if it claims nothing. Nothing is removed.
        digests: Its headers `Content-Digest` and `Repr-Digest`, as they are.
    """

    name: str
    filename: str | None
    digests: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The end of a part."""


Event: TypeAlias = Part | bytes | PartEnd


class MultipartBody:
    """A push parser: pieces of a body go in, parts and their data come out.

    Args:
        boundary: That of the content type.
        max_parts: How many parts the form may have.

    Raises:
        BadRequestError: The boundary is missing or too long.
    """

    def __init__(self, boundary: bytes, max_parts: int = _MAX_PARTS) -> None:
        if not boundary:
            raise BadRequestError("The content type multipart/form-data lacks its boundary.")
        if len(boundary) > _MAX_BOUNDARY_BYTES:
            raise BadRequestError(f"The boundary has more than {_MAX_BOUNDARY_BYTES} characters.")
        self._delimiter = b"\r\n--" + boundary
        # The line end is a part of the delimiter, also of one with which the body begins.
        self._buffer, self._at = b"\r\n", 0
        self._parts, self._max_parts = 0, max_parts
        self._state: Callable[[], Iterator[Event]] = self._in_data

    @property
    def is_closed(self) -> bool:
        """Whether the closing delimiter came."""
        return self._state == self._in_epilogue

    @property
    def unparsed_bytes(self) -> int:
        """The bytes that came and were not yielded yet."""
        return len(self._buffer) - self._at

    def parse(self, piece: bytes) -> Iterator[Event]:
        """Yield what the next piece brings: `Part`, its data in any number of pieces, `PartEnd`.

        Raises:
            BadRequestError: The body is malformed, or has too many parts.
        """
        self._buffer, self._at = self._buffer[self._at :] + piece, 0
        state = None
        # A state that stays needs more bytes.
        while state != self._state:
            state = self._state
            yield from state()

    def finish(self) -> None:
        """Make sure that the closing delimiter came.

        Raises:
            BadRequestError: The body is cut off, or its boundary is another one.
        """
        if not self.is_closed:
            self._refuse(
                "ends before its closing boundary"
                if self._parts
                else "does not have the boundary that its content type names"
            )

    def _in_data(self) -> Iterator[Event]:
        """Yield the data up to the next delimiter; before the first part it is a preamble."""
        end = self._buffer.find(self._delimiter, self._at)
        found = end >= 0
        if not found:
            end = self._end_of_data()
        if self._parts:
            if end > self._at:
                yield self._buffer[self._at : end]
            if found:
                yield PartEnd()
        self._at = end
        if found:
            self._at += len(self._delimiter)
            self._state = self._in_delimiter_line

    def _end_of_data(self) -> int:
        """Return where a delimiter may begin whose rest has not arrived."""
        # A delimiter has no carriage return but its first byte.
        tail = max(self._at, len(self._buffer) - len(self._delimiter) + 1)
        end = self._buffer.rfind(b"\r", tail)
        if end >= 0 and self._delimiter.startswith(self._buffer[end:]):
            return end
        return len(self._buffer)

    def _in_delimiter_line(self) -> Iterator[Event]:
        if self._buffer.startswith(b"--", self._at):
            self._state = self._in_epilogue
            return
        padding = self._line(b"\r\n", _MAX_PADDING_BYTES)
        if padding is not None:
            if padding.strip(b" \t"):
                self._refuse("has its boundary within a part")
            self._parts += 1
            if self._parts > self._max_parts:
                raise BadRequestError(f"The form has more than {self._max_parts} parts.")
            self._state = self._in_headers
        yield from ()

    def _in_headers(self) -> Iterator[Event]:
        # A part may do without headers: only the blank line is there.
        bare = self._buffer.startswith(b"\r\n", self._at)
        headers = self._line(b"\r\n" if bare else b"\r\n\r\n", _MAX_HEADER_BYTES)
        if headers is not None:
            yield self._part(headers)
            self._state = self._in_data

    def _line(self, end: bytes, max_bytes: int) -> bytes | None:
        """Return and pass over what comes before `end`; None if that has not arrived."""
        at = self._buffer.find(end, self._at, self._at + max_bytes + len(end))
        if at < 0:
            if len(self._buffer) - self._at >= max_bytes + len(end):
                self._refuse(f"has a boundary or headers without an end in {max_bytes:,} bytes")
            return None
        line = self._buffer[self._at : at]
        self._at = at + len(end)
        return line

    def _part(self, headers: bytes) -> Part:
        if not _HEADERS.fullmatch(headers):
            self._refuse("has a part with malformed headers")
        disposition = _DISPOSITION.search(headers)
        _, parameters = parse_parameters(disposition[1] if disposition else b"")
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        digests = tuple(
            (field.decode("ascii").title(), value.strip().decode("latin-1"))
            for field, value in _DIGEST.findall(headers)
        )
        return Part(name, filename_of(parameters), digests)

    def _in_epilogue(self) -> Iterator[Event]:
        """Ignore what follows the closing delimiter."""
        self._at = len(self._buffer)
        yield from ()

    def _refuse(self, reason: str) -> NoReturn:
        raise BadRequestError(f"The multipart body {reason}.")
