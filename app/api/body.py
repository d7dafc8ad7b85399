"""The body of an upload, received and parsed.

Hides its two forms: multipart/form-data (RFC 7578) with a part named `file`, or the bytes
themselves. The body is counted and limited while it streams, and never spooled to disk. File names
and declared types of parts decide nothing.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NoReturn

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from app.api.options import Options
from app.client import client_of
from app.errors import (
    BadRequestError,
    BodyTooLargeError,
    MissingFileError,
    TooManyFilesError,
    UnsupportedMediaTypeError,
)
from app.imaging.names import HARMFUL, MAX_FILENAME_CHARACTERS
from app.ingest.intake import Intake
from app.ingest.upload import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from app.budget import Reservation
    from app.imaging.settings import ImagingSettings
    from app.ingest.settings import BodySettings, UploadSettings

# The content types that the body of an upload may have.
CONTENT_TYPES = ("multipart/form-data", "image/*", "application/octet-stream")
# Boundaries, part headers and small fields around a file.
_FRAMING_BYTES = 65_536
# An upload has three: the file and two options. The rest is room for other fields of a form.
_MAX_PARTS = 32
# What browsers call a Blob without a name (XMLHttpRequest standard, FormData.append).
_NAMELESS = {"", "blob"}


class RequestBody:
    """An upload that a client is about to send; a `Source` of `app.ingest.upload`.

    Raises:
        BadRequestError: The length is announced in two ways.
        BodyTooLargeError: The announced length is over the limit.
        UnsupportedMediaTypeError: The body has neither of the two forms.
        InvalidParameterError: An option in the query has an unknown value.
    """

    def __init__(
        self,
        request: Request,
        pace: BodySettings,
        upload: UploadSettings,
        imaging: ImagingSettings,
    ) -> None:
        self._request = request
        self.client = client_of(request.client.host if request.client else "")
        self._pace = pace
        self._limit = upload.max_bytes
        declared = request.headers.get("content-type", "application/octet-stream")
        content_type, self._parameters = parse_options_header(declared)
        self._is_form = content_type == b"multipart/form-data"
        if not self._is_form and not _is_raw(content_type):
            raise UnsupportedMediaTypeError(
                f"A body of type {declared.partition(';')[0][:100]} is not accepted: send"
                " multipart/form-data with a part named file, or the image's bytes as image/* or"
                " application/octet-stream.",
                ", ".join(CONTENT_TYPES),
            )
        self._options = Options(imaging, request.headers.get("accept", ""))
        for name in request.query_params:
            self._options.choose(name, request.query_params[name])
        self.max_bytes = self._announced()

    async def left(self) -> NoReturn:
        """See `Source.left`."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    async def receive(self, reservation: Reservation) -> Upload:
        """Receive the body; see `Source.receive`."""
        intake = Intake(reservation, self._pace, self.max_bytes)
        async with intake.open():
            if not self._is_form:
                data = b"".join([piece async for piece in self._pieces(self._limit, intake)])
                return Upload(data, None, self._options.recipe)
            form = _Form(self._parameters.get(b"boundary", b""), self._limit, self._options)
            async for piece in self._pieces(self._limit + _FRAMING_BYTES, intake):
                form.write(piece)
            return form.finish()

    def _announced(self) -> int:
        """Return the most bytes that may come: the announced length, or the limit."""
        limit = self._limit + (_FRAMING_BYTES if self._is_form else 0)
        length = self._request.headers.get("content-length")
        if length is not None and "transfer-encoding" in self._request.headers:
            # RFC 9112, section 6.1: typical of request smuggling; its length cannot be trusted.
            raise BadRequestError("A body with Transfer-Encoding has no Content-Length.")
        if length is None:
            return limit
        if int(length) > limit:
            raise _too_large(self._limit)
        return int(length)

    async def _pieces(self, limit: int, intake: Intake) -> AsyncIterator[bytes]:
        """Yield the body, as long as it is not too large."""
        received, more = 0, True
        while more:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece, more = message.get("body", b""), message.get("more_body", False)
            if not piece:
                continue
            received += len(piece)
            if received > limit:
                raise _too_large(self._limit)
            await intake.count(len(piece))
            yield piece


class _Form:
    """A push parser that keeps the part `file` and applies the options."""

    def __init__(self, boundary: bytes, max_file_bytes: int, options: Options) -> None:
        if not boundary:
            raise BadRequestError("The content type multipart/form-data lacks its boundary.")
        self._max_file_bytes = max_file_bytes
        self._options = options
        self._parts = 0
        self._ended = False
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition: dict[bytes, bytes] = {}
        self._name = ""
        self._content: list[bytes] = []
        self._content_bytes = 0
        self._file: list[bytes] | None = None
        self._filename: str | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise BadRequestError(f"The multipart body is malformed: {error}.") from error

    def write(self, piece: bytes) -> None:
        """Parse a piece of the body.

        Raises:
            BadRequestError: The body is malformed.
            BodyTooLargeError, TooManyFilesError, InvalidParameterError: See the classes.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BadRequestError(f"The multipart body is malformed: {error}.") from error

    def finish(self) -> Upload:
        """Return the file.

        Raises:
            BadRequestError: The closing boundary never came: the body is cut off.
            MissingFileError: There was no part named `file`.
        """
        if not self._ended:
            raise BadRequestError("The multipart body ends before its closing boundary.")
        if self._file is None:
            raise MissingFileError("The form has no part named file.")
        return Upload(b"".join(self._file), self._filename, self._options.recipe)

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise BadRequestError(f"The form has more than {_MAX_PARTS} parts.")
        self._disposition = {}
        self._content, self._content_bytes = [], 0

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            # Browsers and curl send UTF-8 as it is (RFC 7578, section 5.1.1).
            _, self._disposition = parse_options_header(self._header_value.decode("latin-1"))
        self._header_name, self._header_value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        self._name = self._disposition.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file" and self._file is not None:
            raise TooManyFilesError(
                "The form has more than one part named file: send one file per request."
            )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content_bytes += end - start
        if self._name == "file" and self._content_bytes > self._max_file_bytes:
            raise _too_large(self._max_file_bytes)
        if self._name != "file" and self._content_bytes > _FRAMING_BYTES:
            raise MissingFileError(
                f"The part {self._name[:50]!r} has over {_FRAMING_BYTES:,} bytes: send the image as"
                " a part named file, and nothing else as large."
            )
        self._content.append(data[start:end])

    def _on_part_end(self) -> None:
        if self._name == "file":
            self._file = self._content
            self._filename = clean_filename(self._disposition.get(b"filename", b""))
        else:
            self._options.choose(self._name, b"".join(self._content).decode("utf-8", "replace"))

    def _on_end(self) -> None:
        self._ended = True


def clean_filename(raw: bytes) -> str | None:
    """Return the last component of a client's file name, or None if nothing is left of it."""
    # Browsers and curl write a quotation mark like this (HTML standard, multipart/form-data).
    raw = raw.replace(b"%22", b'"')
    text = unicodedata.normalize("NFC", raw.decode("utf-8", "replace"))
    text = HARMFUL.sub("", text.replace("\\", "/").rpartition("/")[2]).strip(" .")
    return None if text in _NAMELESS else text[-MAX_FILENAME_CHARACTERS:]


def _is_raw(content_type: bytes) -> bool:
    return content_type.startswith(b"image/") or content_type in (b"", b"application/octet-stream")


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"An upload may have at most {limit:,} bytes.")
