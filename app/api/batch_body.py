"""The body of a batch: a form with any number of parts named `file`, received image by image.

Hides where one image ends and the next begins, and what a refusal concerns: an image that is too
large, or for which there is no memory, is passed over; a form that is malformed, too long or too
slow breaks off, and the images before that stay. So does one whose `Content-Digest` turns out at
its end to be that of another.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from starlette.requests import ClientDisconnect

from app.api import codings, digests
from app.api.form import MAX_FIELD_BYTES, clean_filename, digests_of
from app.api.multipart import MultipartBody, Part, PartEnd
from app.api.options import Options
from app.api.parameters import parse_parameters
from app.api.sender import announced_bytes, sender_of
from app.errors import (
    BodyTooLargeError,
    GatewayError,
    IncompleteBodyError,
    MissingFileError,
    RequestTimeoutError,
    TooManyFilesError,
    UnsupportedMediaTypeError,
    UploadAlteredError,
)
from app.ingest.intake import Intake, Pulse, memory_for
from app.limits.meters import pass_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from app.access.read_rule import ReadRule
    from app.api.multipart import Event
    from app.budget import Reservation
    from app.imaging.settings import ImagingSettings
    from app.ingest.settings import BodySettings, UploadSettings
    from app.ingest.upload import BatchImage, Upload

CONTENT_TYPE = "multipart/form-data"
# Of an option that is kept while it comes: what is longer is none.
_KEPT_FIELD_BYTES = 1_024
# An image may have options of its own, and a form other fields that mean nothing here.
_PARTS_PER_IMAGE, _OTHER_PARTS = 8, 32


class BatchBody:
    """A batch that a client is about to send; a `BatchSource` of `app.ingest.upload`.

    Raises:
        BadRequestError: The length is announced in two ways, or the boundary is missing.
        BodyTooLargeError: The announced length is over the limit.
        UnsupportedEncodingError: The body has a coding.
        UnsupportedMediaTypeError: The body is no form.
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
        codings.require_none(request.headers)
        self._digests = digests.given_in(request.headers)
        self.sender = sender_of(request, upload.max_bytes)
        self.client = self.sender.client
        self.pace = pace
        self.broken: Exception | None = None
        self.has_begun = False
        self._form = MultipartBody(
            _boundary(request), _PARTS_PER_IMAGE * upload.batch_images + _OTHER_PARTS
        )
        self._options = Options(imaging, rule, upload, request.headers.get("accept", ""))
        for name, value in request.query_params.multi_items():
            self._options.choose(name, value)
        if self.sender.link:
            self._options.fix()
        self._most_images = upload.batch_images
        self._most_bytes = self._left_bytes = upload.batch_bytes
        length = announced_bytes(request)
        if length is not None:
            if length > self._most_bytes:
                raise self._too_large()
            self._left_bytes = length
        self._more = True
        self._pulse = Pulse()
        self._images = 0
        self._positions = itertools.count()
        self._events: Iterator[Event] = iter(())
        self._ahead: Event | None = None
        self._part = Part("", None)
        self._content: list[bytes] = []
        self._content_bytes = 0
        self._given = digests.GivenDigests({})

    def may_have_more(self) -> bool:
        """See `BatchSource.may_have_more`."""
        if self._ahead is None:
            # A form that is malformed here is `broken`.
            with suppress(GatewayError):
                self._ahead = self._parsed()
        return not (self._form.is_closed or self.broken)

    def next(self) -> Image:
        """See `BatchSource.next`."""
        # Until the first file has begun, options are those of all.
        options = self._options if not self._images else copy.copy(self._options)
        there_bytes = self._form.unparsed_bytes
        max_bytes = min(self.sender.max_bytes, self._left_bytes + there_bytes)
        return Image(self, options, max_bytes, next(self._positions))

    async def receive(self, image: Image, reservation: Reservation) -> Upload:
        """Receive an image; the reservation grows with it."""
        there_bytes = self._form.unparsed_bytes
        await reservation.grow(memory_for(there_bytes, image.max_bytes))
        intake = Intake(reservation, self.pace, image.max_bytes, pass_bytes, there_bytes)
        try:
            async with intake.open():
                return await self._receive(image, intake)
        except RequestTimeoutError as error:
            self.broken = error
            raise

    async def pass_over(self, image: BatchImage) -> None:
        """See `BatchSource.pass_over`."""
        assert isinstance(image, Image)  # noqa: S101 - it came from here
        if image.exists:
            self._content = []
        if image.has_ended:
            return
        self._pulse = Pulse()
        with suppress(GatewayError, ClientDisconnect):
            while not self.broken and (event := await self._event(None)) is not None:
                if isinstance(event, Part):
                    self._begin(event, image)
                elif isinstance(event, PartEnd) and self._part.name == "file":
                    return
                # It is refused, and what is in front of it is for all.
                if not self._images:
                    self._take(event, image)

    async def finish(self) -> None:
        """See `BatchSource.finish`."""
        self._pulse = Pulse()
        with suppress(GatewayError, ClientDisconnect):
            while self._more and self.broken is None:
                await self._piece_in_time()
        if self.broken is None:
            try:
                self._digests.verify()
            except UploadAlteredError as error:
                self.broken = error

    async def left(self) -> NoReturn:
        """See `Source.left`."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    async def _receive(self, image: Image, intake: Intake) -> Upload:
        while (event := await self._event(intake)) is not None:
            if isinstance(event, Part):
                self._begin(event, image)
            image.has_ended = isinstance(event, PartEnd) and self._part.name == "file"
            self._take(event, image)
            if image.has_ended:
                data, self._content = b"".join(self._content), []
                return image.options.upload(data, clean_filename(self._part.filename or ""))
        missing = MissingFileError("The form has no part named file.")
        # Of a form that had some, the last one came before.
        raise missing if self._images else self._break_off(missing)

    def _begin(self, part: Part, image: Image) -> None:
        self._part, self._content, self._content_bytes = part, [], 0
        if part.name != "file":
            return
        if self._images >= self._most_images:
            raise self._break_off(
                TooManyFilesError(f"A batch may have at most {self._most_images:,} images.")
            )
        self._images += 1
        image.exists = True

    def _take(self, event: Event, image: Image) -> None:
        """Keep what comes of a part; at its end, compare its digests and apply an option."""
        if isinstance(event, bytes):
            self._content_bytes += len(event)
            self._require_size(self._content_bytes)
            self._given.update(event)
            if self._part.name == "file" or self._content_bytes <= _KEPT_FIELD_BYTES:
                self._content.append(event)
            return
        with self._for_all():
            if isinstance(event, Part):
                self._given = digests_of(event)
                return
            self._given.verify()
            if self._part.name != "file":
                value = b"".join(self._content).decode("utf-8", "replace")
                image.options.choose(self._part.name, value)

    @contextmanager
    def _for_all(self) -> Iterator[None]:
        """Break off if an option is refused that is for all images: none is stored without it."""
        try:
            yield
        except GatewayError as error:
            if not self._images:
                self.broken = error
            raise

    def _require_size(self, content_bytes: int) -> None:
        most_bytes = self.sender.max_bytes
        if self._part.name == "file":
            if content_bytes > most_bytes:
                raise BodyTooLargeError(f"An upload may have at most {most_bytes:,} bytes.")
        elif content_bytes > MAX_FIELD_BYTES:
            raise self._break_off(
                MissingFileError(
                    f"The part {self._part.name[:50]!r} has over {MAX_FIELD_BYTES:,} bytes: send"
                    " images as parts named file, and nothing else as large."
                )
            )

    async def _event(self, intake: Intake | None) -> Event | None:
        """Return what comes next, with what is read counted by `intake`; None at the end."""
        event, self._ahead = self._ahead, None
        while event is None and (event := self._parsed()) is None:
            if self._form.is_closed:
                return None
            if not self._more:
                self._close()
            piece = await (self._piece() if intake else self._piece_in_time())
            # Before it is counted: an image for which there is no memory leaves none of it behind.
            self._events = self._form.parse(piece)
            if intake is not None:
                await intake.count(len(piece))
        return event

    def _parsed(self) -> Event | None:
        try:
            return next(self._events, None)
        except GatewayError as error:
            self.broken = error
            raise

    def _close(self) -> None:
        try:
            self._form.finish()
        except GatewayError as error:
            self.broken = error
            raise

    async def _piece(self) -> bytes:
        """Return the next piece of the body; it may be empty."""
        self.has_begun = True
        try:
            message = await self._request.receive()
        except IncompleteBodyError as error:
            raise self._break_off(error) from None
        if message["type"] == "http.disconnect":
            self.broken = ClientDisconnect()
            raise self.broken
        piece: bytes = message.get("body", b"")
        self._digests.update(piece)
        self._more = message.get("more_body", False)
        self._left_bytes -= len(piece)
        if self._left_bytes < 0:
            raise self._break_off(self._too_large())
        return piece

    async def _piece_in_time(self) -> bytes:
        """Return the next piece of what is not kept, and needs no memory."""
        try:
            async with asyncio.timeout_at(self._pulse.ends_at):
                piece = await self._piece()
        except TimeoutError as error:
            late = RequestTimeoutError(self._pulse.lateness())
            raise self._break_off(late) from error
        self._pulse.count(len(piece))
        loop = asyncio.get_running_loop()
        came_at = loop.time()
        await pass_bytes(len(piece))
        self._pulse.delay(loop.time() - came_at)
        return piece

    def _break_off(self, error: GatewayError) -> GatewayError:
        self.broken = error
        return error

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"A batch may have at most {self._most_bytes:,} bytes.")


class Image:
    """An image of a batch; a `BatchImage` of `app.ingest.upload`."""

    def __init__(self, body: BatchBody, options: Options, max_bytes: int, position: int) -> None:
        self._body = body
        self.options = options
        self.max_bytes = max_bytes
        self.exists = self.has_ended = False
        self.received: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        sender = body.sender
        self.client, self.owner = sender.client, sender.owner
        self.formats, self.claim = sender.formats, sender.claim
        self.token = sender.token(position)

    async def receive(self, reservation: Reservation) -> Upload:
        """See `Source.receive`."""
        upload = await self._body.receive(self, reservation)
        self.received.set_result(len(upload.data))
        return upload

    async def left(self) -> NoReturn:
        """Wait for ever: the batch itself watches whether its client leaves."""
        await asyncio.Event().wait()
        raise ClientDisconnect


def _boundary(request: Request) -> bytes:
    declared = request.headers.get("content-type", "")
    content_type, parameters = parse_parameters(declared.encode("latin-1"))
    if content_type != CONTENT_TYPE.encode():
        raise UnsupportedMediaTypeError(
            f"A batch of type {declared.partition(';')[0][:100]!r} is not accepted: send"
            f" {CONTENT_TYPE} with parts named file.",
            CONTENT_TYPE,
        )
    return parameters.get(b"boundary", b"")
