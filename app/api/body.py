"""The body of an upload, received and parsed.

Hides its two forms: multipart/form-data (RFC 7578) with a part named `file`, or the bytes
themselves. The body is counted and limited while it streams, and never spooled to disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from starlette.requests import ClientDisconnect

from app.api import codings, digests
from app.api.form import UploadForm
from app.api.options import Options
from app.api.parameters import parse_parameters
from app.api.sender import announced_bytes, sender_of
from app.errors import BodyTooLargeError, UnsupportedMediaTypeError
from app.ingest.intake import Intake
from app.limits.meters import pass_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from app.access.read_rule import ReadRule
    from app.budget import Reservation
    from app.imaging.settings import ImagingSettings
    from app.ingest.settings import BodySettings, UploadSettings
    from app.ingest.upload import Upload

# The content types that the body of an upload may have.
CONTENT_TYPES = ("multipart/form-data", "image/*", "application/octet-stream")
# Boundaries, part headers and small fields around a file.
_FRAMING_BYTES = 65_536


class RequestBody:
    """An upload that a client is about to send; a `Source` of `app.ingest.upload`.

    Raises:
        BadRequestError: The length is announced in two ways.
        InvalidIdempotencyKeyError: The key is malformed.
        BodyTooLargeError: The announced length is over the limit.
        UnsupportedEncodingError: The body has a coding.
        UnsupportedMediaTypeError: The body has neither of the two forms.
        InvalidDigestError: The digest of the body cannot be read.
        InvalidParameterError: An option in the query has an unknown value.
    """

    def __init__(
        self,
        request: Request,
        pace: BodySettings,
        upload: UploadSettings,
        imaging: ImagingSettings,
        rule: ReadRule,
    ) -> None:
        self._request = request
        sender = sender_of(request, upload.max_bytes)
        self.client, self.owner = sender.client, sender.owner
        self.formats, self.claim = sender.formats, sender.claim
        self._limit = sender.max_bytes
        self._pace = pace
        self.token = sender.token()
        codings.require_none(request.headers)
        declared = request.headers.get("content-type", "application/octet-stream")
        content_type, self._parameters = parse_parameters(declared.encode("latin-1"))
        self._is_form = content_type == b"multipart/form-data"
        if not self._is_form and not _is_raw(content_type):
            raise UnsupportedMediaTypeError(
                f"A body of type {declared.partition(';')[0][:100]} is not accepted: send"
                " multipart/form-data with a part named file, or the image's bytes as image/* or"
                " application/octet-stream.",
                ", ".join(CONTENT_TYPES),
            )
        self._options = Options(imaging, rule, upload, request.headers.get("accept", ""))
        for name, value in request.query_params.multi_items():
            self._options.choose(name, value)
        if sender.link:
            self._options.fix()
        self.max_bytes = self._announced()
        self._digests = digests.given_in(request.headers)

    async def left(self) -> NoReturn:
        """See `Source.left`."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    async def receive(self, reservation: Reservation) -> Upload:
        """Receive the body; see `Source.receive`."""
        intake = Intake(reservation, self._pace, self.max_bytes, pass_bytes)
        async with intake.open():
            if not self._is_form:
                data = b"".join([piece async for piece in self._pieces(self._limit, intake)])
                self._digests.verify()
                return self._options.upload(data, None)
            form = UploadForm(self._parameters.get(b"boundary", b""), self._limit, self._options)
            async for piece in self._pieces(self._limit + _FRAMING_BYTES, intake):
                form.write(piece)
            self._digests.verify()
            return form.finish()

    def _announced(self) -> int:
        """Return the most bytes that may come: the announced length, or the limit."""
        limit = self._limit + (_FRAMING_BYTES if self._is_form else 0)
        length = announced_bytes(self._request)
        if length is None:
            return limit
        if length > limit:
            raise _too_large(self._limit)
        return length

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
            self._digests.update(piece)
            await intake.count(len(piece))
            yield piece


def _is_raw(content_type: bytes) -> bool:
    return content_type.startswith(b"image/") or content_type in (b"", b"application/octet-stream")


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"An upload may have at most {limit:,} bytes.")
