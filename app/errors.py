"""Everything that can go wrong, as one tree.

    GatewayError
    ├── RequestError                     the request has to change
    │   ├── BadRequestError              400 bad-request
    │   ├── IncompleteBodyError          400 incomplete-body
    │   ├── InvalidDigestError           400 invalid-digest
    │   ├── UploadAlteredError           400 digest-mismatch
    │   ├── InvalidIdempotencyKeyError   400 invalid-idempotency-key
    │   ├── CredentialRequiredError      401 credential-required
    │   ├── InvalidCredentialError       401 invalid-credential
    │   ├── InsufficientScopeError       403 insufficient-scope
    │   ├── InvalidLinkError             403 invalid-link
    │   ├── LinkExpiredError             403 link-expired
    │   ├── QuotaExceededError           403 quota-exceeded
    │   ├── CrossSiteError               403 cross-site
    │   ├── ImageNotFoundError           404 image-not-found
    │   ├── RequestTimeoutError          408 request-timeout
    │   ├── LinkUsedError                409 link-used
    │   ├── IdempotencyKeyInUseError     409 idempotency-key-in-use
    │   ├── ImageGoneError               410 image-gone
    │   ├── PreconditionFailedError      412 precondition-failed
    │   ├── BodyTooLargeError            413 body-too-large
    │   ├── TargetTooLongError           414 target-too-long
    │   ├── UnsupportedMediaTypeError    415 unsupported-media-type
    │   ├── UnsupportedEncodingError     415 unsupported-encoding
    │   ├── UnsupportedFormatError       415 unsupported-format
    │   ├── RangeNotSatisfiableError     416 range-not-satisfiable
    │   ├── MisdirectedRequestError      421 misdirected-request
    │   ├── IdempotencyKeyReusedError    422 idempotency-key-reused
    │   ├── InvalidParameterError        422 invalid-parameter
    │   ├── EmptyBodyError               422 empty-body
    │   ├── MissingFileError             422 missing-file
    │   ├── TooManyFilesError            422 too-many-files
    │   ├── HeadersTooLargeError         431 headers-too-large
    │   └── ImageRefusedError
    │       ├── InvalidImageError        422 invalid-image
    │       ├── ImageLimitError          422 image-limit-exceeded
    │       ├── DecodeTimeoutError       422 decode-timeout
    │       └── DecoderCrashedError      422 decoder-crashed
    ├── UnavailableError                 the same request may succeed later
    │   ├── ShareExceededError           429 share-exceeded
    │   ├── RateLimitedError             429 rate-limited
    │   ├── NotReadyError                503 not-ready
    │   ├── OverloadedError              503 overloaded
    │   ├── LogUnavailableError          503 log-unavailable
    │   ├── NotWrittenError              503 not-written
    │   ├── RecordDamagedError           503 record-damaged
    │   ├── KeyUnavailableError          503 key-unavailable
    │   ├── CatalogDamagedError          503 catalog-damaged
    │   ├── UnpackError                  503 not-unpacked
    │   ├── IssuerUnavailableError       503 issuer-unavailable
    │   └── NewerVersionError            503 newer-version
    ├── OutcomeUnknownError              504 outcome-unknown
    ├── InternalError                    500 internal-error
    │
    │   never an HTTP answer:
    ├── HeavyImageError                  a codec worker asks to be given it again, as heavy work
    ├── RecordMissingError               no record was ever stored at this position
    ├── RecordGoneError                  the record was erased, trimmed or has expired
    ├── TurnLostError                    another member of the consumer group may have the turn
    ├── DigestMismatchError              the bytes of an image are not those of its digest
    └── ConfigurationError               the process cannot start with these settings

A class without a code cannot be raised: it stands for its subclasses. `detail` is safe to show to a
client; `__cause__` goes to the log only. Codec workers name errors by their code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Mapping, Sequence


class GatewayError(Exception):
    """The root. Subclasses fix code, status and title; an instance adds the detail.

    Args:
        detail: What happened, safe to show to a client.
        values: The values of `headers`, in their order.

    Attributes:
        reason: What happened, for the log and for operators; it may say more than `detail`.
    """

    code: ClassVar[str]
    status: ClassVar[int] = 500
    title: ClassVar[str]
    retryable: ClassVar[bool] = False
    # The headers of the answer, each with an example of its value.
    headers: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args: object, **options: object) -> Self:  # noqa: D102 - see the module
        if not hasattr(cls, "code"):
            raise TypeError(f"{cls.__name__} has no code: raise one of its subclasses.")
        return super().__new__(cls, *args, **options)

    def __init__(self, detail: str, *values: str) -> None:
        super().__init__(detail)
        self.detail = self.reason = detail
        self.header_values = dict(zip(self.headers, values, strict=True))


class InternalError(GatewayError):
    """The gateway's own mistake."""

    code, title = "internal-error", "Internal error"


class ConfigurationError(GatewayError):
    """The process cannot start with these settings or options."""

    code, title = "configuration", "Configuration error"


class RequestError(GatewayError):
    """The request has to change before it can succeed."""


# The content types that a client may send instead (RFC 9110, section 12.5.1).
_ACCEPT = {"Accept": "image/jpeg, image/png, image/webp"}


class BadRequestError(RequestError):
    """The body or a header cannot be parsed."""

    code, status, title = "bad-request", 400, "Bad request"


class IncompleteBodyError(RequestError):
    """The client closed its side of the connection before the end of the body."""

    code, status, title = "incomplete-body", 400, "Incomplete body"


class InvalidDigestError(RequestError):
    """A `Content-Digest` or `Repr-Digest` cannot be read."""

    code, status, title = "invalid-digest", 400, "Invalid digest"


class UploadAlteredError(RequestError):
    """The body is not the one that its `Content-Digest` or `Repr-Digest` tells."""

    code, status, title = "digest-mismatch", 400, "Digest mismatch"


class InvalidIdempotencyKeyError(RequestError):
    """`Idempotency-Key` is there twice, is too long, or has other letters than it may have."""

    code, status, title = "invalid-idempotency-key", 400, "Invalid idempotency key"


# How to authenticate (RFC 6750, section 3).
_CHALLENGE = 'Bearer realm="imagegate"'


class CredentialRequiredError(RequestError):
    """The request shows no credential, and needs one."""

    code, status, title = "credential-required", 401, "Credential required"
    headers: ClassVar = {"WWW-Authenticate": _CHALLENGE}

    def __init__(
        self, detail: str = "Send a key: Authorization: Bearer …, or X-API-Key: …."
    ) -> None:
        super().__init__(detail, _CHALLENGE)


class InvalidCredentialError(RequestError):
    """The API key or the token is malformed, unknown, expired or revoked."""

    code, status, title = "invalid-credential", 401, "Invalid credential"
    headers: ClassVar = {"WWW-Authenticate": _CHALLENGE}

    def __init__(self, detail: str) -> None:
        super().__init__(detail, f'{_CHALLENGE}, error="invalid_token"')


class InsufficientScopeError(RequestError):
    """The credential is valid, and lacks the scope that the request needs."""

    code, status, title = "insufficient-scope", 403, "Insufficient scope"
    headers: ClassVar = {"WWW-Authenticate": _CHALLENGE}

    def __init__(self, scope: str) -> None:
        challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        super().__init__(f"This needs the scope {scope}.", challenge)


class InvalidLinkError(RequestError):
    """The signature of the link does not fit the request, or its key or its maker has gone."""

    code, status, title = "invalid-link", 403, "Invalid link"


class LinkExpiredError(RequestError):
    """The link was valid, and its time is over."""

    code, status, title = "link-expired", 403, "Link expired"


class QuotaExceededError(RequestError):
    """The principal stores as much as it may: an image has to be deleted first."""

    code, status, title = "quota-exceeded", 403, "Quota exceeded"


class CrossSiteError(RequestError):
    """A page of another origin sent a request that would change something."""

    code, status, title = "cross-site", 403, "Cross-site request"


class ImageNotFoundError(RequestError):
    """No image has this id; malformed and unknown ids look like those of others' images."""

    code, status, title = "image-not-found", 404, "Image not found"

    def __init__(
        self, detail: str = "There is no image with this id.", *, is_foreign: bool = False
    ) -> None:
        super().__init__(detail)
        self.is_foreign = is_foreign  # for the log: there is one, of another owner


class RequestTimeoutError(RequestError):
    """The client sent the body too slowly."""

    code, status, title, retryable = "request-timeout", 408, "Request timeout", True


class LinkUsedError(RequestError):
    """As many images were stored by the upload link as it allows."""

    code, status, title = "link-used", 409, "Link used"


class IdempotencyKeyInUseError(RequestError):
    """Another upload under the same `Idempotency-Key` is still running."""

    code, status, title = "idempotency-key-in-use", 409, "Idempotency key in use"
    retryable = True


class ImageGoneError(RequestError):
    """The image was deleted, or its bytes left the log."""

    code, status, title = "image-gone", 410, "Image gone"


class PreconditionFailedError(RequestError):
    """`If-Match` names another representation."""

    code, status, title = "precondition-failed", 412, "Precondition failed"


class BodyTooLargeError(RequestError):
    """The upload has more bytes than allowed."""

    code, status, title = "body-too-large", 413, "Body too large"


class TargetTooLongError(RequestError):
    """The path and the query of the request are too long."""

    code, status, title = "target-too-long", 414, "Target too long"


class UnsupportedMediaTypeError(RequestError):
    """The request's content type is neither multipart nor that of raw bytes."""

    code, status, title = "unsupported-media-type", 415, "Unsupported media type"
    headers = _ACCEPT


class UnsupportedEncodingError(RequestError):
    """The body has a `Content-Encoding`: it has to be sent as it is."""

    code, status, title = "unsupported-encoding", 415, "Unsupported content encoding"
    # RFC 9110, section 12.5.3.
    headers: ClassVar = {"Accept-Encoding": "identity"}

    def __init__(self, detail: str) -> None:
        super().__init__(detail, self.headers["Accept-Encoding"])


class UnsupportedFormatError(RequestError):
    """The bytes are not in an image format that the gateway accepts."""

    code, status, title = "unsupported-format", 415, "Unsupported image format"
    headers = _ACCEPT


class RangeNotSatisfiableError(RequestError):
    """The range is outside the image."""

    code, status, title = "range-not-satisfiable", 416, "Range not satisfiable"
    headers: ClassVar = {"Content-Range": "bytes */45013"}

    def __init__(self, detail: str, content_length: int) -> None:
        super().__init__(detail, f"bytes */{content_length}")


class MisdirectedRequestError(RequestError):
    """`Host`, or the request's target, names a host that is not the gateway's."""

    code, status, title = "misdirected-request", 421, "Misdirected request"


class IdempotencyKeyReusedError(RequestError):
    """Another upload was stored under the same `Idempotency-Key`."""

    code, status, title = "idempotency-key-reused", 422, "Idempotency key reused"


class InvalidParameterError(RequestError):
    """A parameter is malformed, out of range, or has a value that is not allowed."""

    code, status, title = "invalid-parameter", 422, "Invalid parameter"


class EmptyBodyError(RequestError):
    """The body, or the part named `file`, has no bytes."""

    code, status, title = "empty-body", 422, "Empty body"


class MissingFileError(RequestError):
    """A multipart upload without a part named `file`."""

    code, status, title = "missing-file", 422, "Missing file"


class TooManyFilesError(RequestError):
    """A multipart upload with more than one part named `file`."""

    code, status, title = "too-many-files", 422, "Too many files"


class HeadersTooLargeError(RequestError):
    """The headers of the request have too many bytes or lines (RFC 6585, section 5)."""

    code, status, title = "headers-too-large", 431, "Headers too large"


class ImageRefusedError(RequestError):
    """The format is accepted, this image is not."""


class InvalidImageError(ImageRefusedError):
    """The decoder refused the image: it is truncated, corrupt, or not of its format."""

    code, status, title = "invalid-image", 422, "Invalid image"


class ImageLimitError(ImageRefusedError):
    """The image has more pixels or frames, a longer side or needs more memory than allowed."""

    code, status, title = "image-limit-exceeded", 422, "Image limit exceeded"


class DecodeTimeoutError(ImageRefusedError):
    """Decoding and encoding took more of a CPU than allowed; the worker was killed."""

    code, status, title = "decode-timeout", 422, "Decode timeout"


class DecoderCrashedError(ImageRefusedError):
    """The worker process died while it processed this image."""

    code, status, title = "decoder-crashed", 422, "Decoder crashed"


class UnavailableError(GatewayError):
    """The request is right and had no effect; it may succeed later."""

    status, retryable, headers = 503, True, {"Retry-After": "5"}

    def __init__(self, detail: str, retry_after_seconds: int = 5) -> None:
        super().__init__(detail, str(retry_after_seconds))


class ShareExceededError(UnavailableError):
    """Others wait, and this client has its share of the gateway in use already."""

    code, status, title = "share-exceeded", 429, "Share exceeded"


class RateLimitedError(UnavailableError):
    """The client, or its address, is at one of its limits."""

    code, status, title = "rate-limited", 429, "Rate limited"

    def __init__(self, detail: str, limit: str, retry_after_seconds: int) -> None:
        super().__init__(detail, retry_after_seconds)
        self.limit = limit


class NotReadyError(UnavailableError):
    """The gateway is starting, draining, or cannot follow the events."""

    code, title = "not-ready", "Not ready"


class OverloadedError(UnavailableError):
    """The memory for images in flight is used up, or codec workers are too busy for an image."""

    code, title = "overloaded", "Overloaded"


class LogUnavailableError(UnavailableError):
    """The log did not answer a read, or another call that stores nothing, in time."""

    code, title = "log-unavailable", "Log unavailable"


class NotWrittenError(UnavailableError):
    """The log did not accept the records: nothing of this request will ever appear."""

    code, title = "not-written", "Not written"
    settled: Future[None] | None = None  # as in `OutcomeUnknownError`


class RecordDamagedError(UnavailableError):
    """The stored record differs from what was written, on every replica that was read."""

    code, title = "record-damaged", "Record damaged"

    def __init__(self, detail: str, offset: int) -> None:
        super().__init__(detail, retry_after_seconds=60)
        self.offset = offset  # in the partition that was read


class KeyUnavailableError(UnavailableError):
    """The key that encrypts or decrypts the image cannot be had here now."""

    code, title = "key-unavailable", "Key unavailable"
    is_away = False  # of a service that holds it; without, another key is needed

    def __init__(self, detail: str, reason: str = "") -> None:
        super().__init__(detail)
        self.reason = reason or detail
        # Tracebacks are for operators.
        self.args = (self.reason,)

    @classmethod
    def another(cls, reason: str) -> Self:
        """Return the error for a sealing key that is not here; clients are not told its name."""
        return cls("The image is encrypted by a key that this gateway does not have.", reason)

    def again(self) -> Self:
        """Return one more, as several may wait for a key, and each raises an error of its own."""
        error = type(self)(self.detail, self.reason)
        error.is_away = self.is_away
        return error


class CatalogDamagedError(UnavailableError):
    """The catalog's file is damaged; it is being rebuilt from the first event."""

    code, title = "catalog-damaged", "Catalog damaged"


class UnpackError(UnavailableError):
    """The image is stored packed and cannot be unpacked here; another replica may."""

    code, title = "not-unpacked", "Not unpacked"


class IssuerUnavailableError(UnavailableError):
    """The keys of the issuer of a token cannot be fetched."""

    code, title = "issuer-unavailable", "Issuer unavailable"


class NewerVersionError(UnavailableError):
    """A newer version of imagegate wrote the record; a replica that runs it can answer."""

    code, title = "newer-version", "Written by a newer version"


class OutcomeUnknownError(GatewayError):
    """A record was handed to the log and not acknowledged: it may or may not be stored.

    Attributes:
        outcomes: The position or the error of each record, in their order.
        settled: Done once the log holds the records no longer; None if it holds none already.
    """

    code, status, title, retryable = "outcome-unknown", 504, "Outcome unknown", True

    def __init__(
        self, detail: str, outcomes: Sequence[object] = (), settled: Future[None] | None = None
    ) -> None:
        super().__init__(detail)
        self.outcomes = outcomes
        self.settled = settled


class HeavyImageError(GatewayError):
    """The image is heavy for its bytes: its turn is another."""

    code, title = "heavy-image", "Heavy image"


class RecordMissingError(GatewayError):
    """No record was ever stored at this position."""

    code, title = "record-missing", "Record missing"


class RecordGoneError(GatewayError):
    """The record at this position was erased, trimmed or has expired."""

    code, title = "record-gone", "Record gone"
    is_erased = False  # by itself: the records around it are there


class TurnLostError(GatewayError):
    """Another member of the consumer group may have the turn: nothing was committed."""

    code, title = "turn-lost", "Turn lost"

    def __init__(
        self,
        detail: str = "Another member of the group may read now: what was not committed is handled"
        " again.",
    ) -> None:
        super().__init__(detail)


class DigestMismatchError(GatewayError):
    """The bytes of an image are not those of its digest: do not use them."""

    code, title = "image-altered", "Image altered"
