"""Everything that can go wrong, as one tree.

    GatewayError
    ├── RequestError                     the request has to change
    │   ├── BadRequestError              400 bad-request
    │   ├── ImageNotFoundError           404 image-not-found
    │   ├── RequestTimeoutError          408 request-timeout
    │   ├── ImageGoneError               410 image-gone
    │   ├── PreconditionFailedError      412 precondition-failed
    │   ├── BodyTooLargeError            413 body-too-large
    │   ├── UnsupportedMediaTypeError    415 unsupported-media-type
    │   ├── UnsupportedFormatError       415 unsupported-format
    │   ├── RangeNotSatisfiableError     416 range-not-satisfiable
    │   ├── InvalidParameterError        422 invalid-parameter
    │   ├── MissingFileError             422 missing-file
    │   ├── TooManyFilesError            422 too-many-files
    │   └── ImageRefusedError
    │       ├── InvalidImageError        422 invalid-image
    │       ├── ImageLimitError          422 image-limit-exceeded
    │       ├── DecodeTimeoutError       422 decode-timeout
    │       └── DecoderCrashedError      422 decoder-crashed
    ├── UnavailableError                 try again later, nothing was stored
    │   ├── NotReadyError                503 not-ready
    │   ├── OverloadedError              503 overloaded
    │   ├── LogUnavailableError          503 log-unavailable
    │   ├── NotWrittenError              503 not-written
    │   ├── RecordDamagedError           503 record-damaged
    │   ├── CatalogDamagedError          503 catalog-damaged
    │   ├── UnpackError                  503 not-unpacked
    │   └── NewerVersionError            503 newer-version
    ├── OutcomeUnknownError              504 outcome-unknown
    ├── InternalError                    500 internal-error
    │
    │   never an HTTP answer:
    ├── RecordMissingError               nothing was ever at this position of the log
    ├── RecordGoneError                  what was there is erased, trimmed or expired
    └── ConfigurationError               the process cannot start like this

`detail` is safe to show to a client. `__cause__` is not: it goes to the log only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Sequence


class GatewayError(Exception):
    """The root. Its subclasses fix code, status and title; an instance adds the detail."""

    code: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InternalError(GatewayError):
    """Our own mistake."""


class ConfigurationError(GatewayError):
    """The process cannot start with what it was given."""

    code = "configuration"
    title = "Configuration error"


class RequestError(GatewayError):
    """The request has to change before it can succeed."""


class BadRequestError(RequestError):
    """The body or a header cannot be parsed."""

    code, status, title = "bad-request", 400, "Bad request"


class ImageNotFoundError(RequestError):
    """No such image: malformed id, wrong cookie and unknown address look alike."""

    code, status, title = "image-not-found", 404, "Image not found"

    def __init__(self, detail: str = "There is no image with this id.") -> None:
        super().__init__(detail)


class RequestTimeoutError(RequestError):
    """The client sent its body too slowly."""

    code, status, title, retryable = "request-timeout", 408, "Request timeout", True


class ImageGoneError(RequestError):
    """The image was deleted, or its bytes left the log."""

    code, status, title = "image-gone", 410, "Image gone"


class PreconditionFailedError(RequestError):
    """`If-Match` names another representation."""

    code, status, title = "precondition-failed", 412, "Precondition failed"


class BodyTooLargeError(RequestError):
    """More bytes than the limit for an upload."""

    code, status, title = "body-too-large", 413, "Body too large"


class UnsupportedMediaTypeError(RequestError):
    """The request's content type is neither multipart nor that of raw bytes."""

    code, status, title = "unsupported-media-type", 415, "Unsupported media type"


class UnsupportedFormatError(RequestError):
    """The bytes are not in an image format that the gateway takes."""

    code, status, title = "unsupported-format", 415, "Unsupported image format"


class RangeNotSatisfiableError(RequestError):
    """The range lies outside the image."""

    code, status, title = "range-not-satisfiable", 416, "Range not satisfiable"

    def __init__(self, detail: str, content_length: int) -> None:
        super().__init__(detail)
        self.content_length = content_length


class InvalidParameterError(RequestError):
    """A parameter is malformed, out of range, or has a value that is not known."""

    code, status, title = "invalid-parameter", 422, "Invalid parameter"


class MissingFileError(RequestError):
    """A multipart upload without a part named `file`."""

    code, status, title = "missing-file", 422, "Missing file"


class TooManyFilesError(RequestError):
    """A multipart upload with more than one part named `file`."""

    code, status, title = "too-many-files", 422, "Too many files"


class ImageRefusedError(RequestError):
    """The bytes name a format that is taken, but this image of it is not."""


class InvalidImageError(ImageRefusedError):
    """The decoder refused the image: truncated, corrupt, or not what its first bytes say."""

    code, status, title = "invalid-image", 422, "Invalid image"


class ImageLimitError(ImageRefusedError):
    """More pixels, frames, a longer side or more decoder memory than allowed."""

    code, status, title = "image-limit-exceeded", 422, "Image limit exceeded"


class DecodeTimeoutError(ImageRefusedError):
    """Decoding and encoding took longer than allowed; the worker was killed."""

    code, status, title = "decode-timeout", 422, "Decode timeout"


class DecoderCrashedError(ImageRefusedError):
    """The worker process died while it had this image."""

    code, status, title = "decoder-crashed", 422, "Decoder crashed"


class UnavailableError(GatewayError):
    """The request was fine and nothing of it was stored; it may succeed later."""

    status, retryable = 503, True

    def __init__(self, detail: str, retry_after_seconds: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class NotReadyError(UnavailableError):
    """The gateway is starting, draining, or cannot follow the events."""

    code, title = "not-ready", "Not ready"


class OverloadedError(UnavailableError):
    """The budget for bytes in flight is spent, or no codec worker came free."""

    code, title = "overloaded", "Overloaded"


class LogUnavailableError(UnavailableError):
    """The log did not answer a read, or another call that stores nothing, in time."""

    code, title = "log-unavailable", "Log unavailable"


class NotWrittenError(UnavailableError):
    """Nothing that counts was handed to the log: none of it will ever appear.

    Attributes:
        settled: As for `OutcomeUnknownError`.
    """

    code, title = "not-written", "Not written"
    settled: Future[None] | None = None


class RecordDamagedError(UnavailableError):
    """What lies in the log is not what was written, wherever it was read.

    Attributes:
        offset: Where, in the partition that was asked.
    """

    code, title = "record-damaged", "Record damaged"

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(detail, retry_after_seconds=60)
        self.offset = offset


class CatalogDamagedError(UnavailableError):
    """The catalog's file is damaged; it is being filled again from the first event."""

    code, title = "catalog-damaged", "Catalog damaged"


class UnpackError(UnavailableError):
    """The image is packed in the log, and could not be unpacked here; another replica may."""

    code, title = "not-unpacked", "Not unpacked"


class NewerVersionError(UnavailableError):
    """A record that a newer version of imagegate wrote; a replica that runs it can answer."""

    code, title = "newer-version", "Written by a newer version"


class OutcomeUnknownError(GatewayError):
    """At least one record was handed over and not acknowledged: it may or may not appear.

    Attributes:
        outcomes: One entry a record, in order: its position, or the error that befell it.
        settled: Done once the log holds none of the records any longer, so that the memory they
            take is free again; None where it holds none already.
    """

    code, status, title, retryable = "outcome-unknown", 504, "Outcome unknown", True

    def __init__(
        self,
        detail: str,
        outcomes: Sequence[object] = (),
        settled: Future[None] | None = None,
    ) -> None:
        super().__init__(detail)
        self.outcomes = outcomes
        self.settled = settled


class RecordMissingError(GatewayError):
    """Nothing was ever written at this position."""

    code, title = "record-missing", "Record missing"


class RecordGoneError(GatewayError):
    """What was at this position was erased, trimmed or expired."""

    code, title = "record-gone", "Record gone"
