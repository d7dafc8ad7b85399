"""The headers of requests and responses, each described once, as components of the document.

Hides how the document refers to them. `Content-Type` is missing because OpenAPI ignores it here,
and what belongs to the connection (`Connection`, `Date`, `Transfer-Encoding`) because it is not
the application's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.api.openapi import examples


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """A header that an answer has: always, unless `required` is false."""

    name: str
    description: str
    example: str
    required: bool = True
    # Under which name it is among the components, where several differ in what they say.
    component: str = ""

    @property
    def key(self) -> str:
        """Its name among the components."""
        return self.component or self.name


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A header that a client may send and a handler reads itself.

    It has no example, which `/docs` would send with every request that is tried out.
    """

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


_REQUEST_ID = "Names the request in the gateway's log: the client's own id, or a new one."
REQUEST_ID = ResponseHeader("X-Request-ID", _REQUEST_ID, examples.REQUEST_ID)
NO_SNIFFING = ResponseHeader("X-Content-Type-Options", "The type is what it says.", "nosniff")
# What is no valid HTTP is answered before there is a request that could have an id.
REQUEST_ID_IF_VALID = ResponseHeader(
    "X-Request-ID",
    f"{_REQUEST_ID} Missing where the request was no valid HTTP.",
    examples.REQUEST_ID,
    required=False,
    component="X-Request-ID-If-Valid",
)
NO_SNIFFING_IF_VALID = ResponseHeader(
    "X-Content-Type-Options",
    "The type is what it says. Missing where the request was no valid HTTP.",
    "nosniff",
    required=False,
    component="X-Content-Type-Options-If-Valid",
)

LOCATION = ResponseHeader("Location", "Path of the image.", examples.IMAGE_PATH)
ETAG = ResponseHeader("ETag", "Strong entity tag: the digest of the image.", examples.ETAG)
REPR_DIGEST = ResponseHeader(
    "Repr-Digest", "SHA-256 of the whole image (RFC 9530).", examples.REPR_DIGEST
)
LINK = ResponseHeader(
    "Link",
    "Path of the next page (RFC 8288); missing on the last one.",
    f'</images?limit=1&cursor={examples.CURSOR}>; rel="next"',
    required=False,
)
IMMUTABLE = ResponseHeader(
    "Cache-Control",
    "An image never changes: keep it.",
    "public, max-age=31536000, immutable",
    component="Cache-Control-Immutable",
)
NO_STORE = ResponseHeader(
    "Cache-Control", "Not to be kept.", "no-store", component="Cache-Control-No-Store"
)
UNBUFFERED = ResponseHeader("X-Accel-Buffering", "Tells nginx to pass on what comes.", "no")
ACCEPT_RANGES = ResponseHeader("Accept-Ranges", "Ranges of bytes are served.", "bytes")
CONTENT_LENGTH = ResponseHeader(
    "Content-Length", "Size of the body in bytes; of a HEAD, that of a GET.", "45013"
)
CONTENT_RANGE = ResponseHeader(
    "Content-Range", "Which bytes of how many these are.", "bytes 0-99/45013"
)
UNSATISFIED_RANGE = ResponseHeader(
    "Content-Range", "How many bytes there are.", "bytes */45013", component="Content-Range-Size"
)
CONTENT_DISPOSITION = ResponseHeader(
    "Content-Disposition",
    "The file name of the upload, or the id, with the extension of what is served (RFC 6266).",
    "inline; filename=\"img.jpg\"; filename*=UTF-8''img.jpg",
)
ACCEPT = ResponseHeader("Accept", "What is taken instead.", "image/jpeg, image/png, image/webp")
RETRY_AFTER = ResponseHeader("Retry-After", "Seconds to wait before the next try.", "5")
ALLOW = ResponseHeader(
    "Allow", "The methods of this path; with a 405.", "GET, POST", required=False
)

# What errors answer with, see `GatewayError.headers`.
OF_ERRORS = {each.name: each for each in (ACCEPT, RETRY_AFTER, UNSATISFIED_RANGE)}

RESPONSE_HEADERS = (
    REQUEST_ID,
    REQUEST_ID_IF_VALID,
    NO_SNIFFING,
    NO_SNIFFING_IF_VALID,
    LOCATION,
    ETAG,
    REPR_DIGEST,
    LINK,
    IMMUTABLE,
    NO_STORE,
    UNBUFFERED,
    ACCEPT_RANGES,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    UNSATISFIED_RANGE,
    CONTENT_DISPOSITION,
    ACCEPT,
    RETRY_AFTER,
    ALLOW,
)

GIVEN_REQUEST_ID = RequestHeader(
    "X-Request-ID",
    "Up to 64 letters, digits, `.`, `_` and `-`, to find the request in the gateway's log."
    " Anything else is replaced.",
)
RANGE = RequestHeader(
    "Range",
    "A range of bytes (RFC 9110), such as `bytes=0-99`. Several in one request are ignored.",
)
IF_RANGE = RequestHeader("If-Range", "The range counts only if the image has this entity tag.")
IF_MATCH = RequestHeader("If-Match", "A 412 unless the image has this entity tag.")
IF_NONE_MATCH = RequestHeader("If-None-Match", "A 304 if the image has this entity tag.")
# An integer and no union with null, as FastAPI has it: clients would send a number as it is.
LAST_EVENT_ID = RequestHeader(
    "Last-Event-ID",
    "Sequence number of the last event seen; -1 for all events.",
    {"type": "integer", "minimum": -1},
)

REQUEST_HEADERS = (
    GIVEN_REQUEST_ID,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    LAST_EVENT_ID,
)


def sent(*headers: ResponseHeader) -> dict[str, Any]:
    """Return the `headers` of a response that has these."""
    return {each.name: {"$ref": f"#/components/headers/{each.key}"} for each in headers}


def read(*headers: RequestHeader) -> list[dict[str, str]]:
    """Return the `parameters` of an operation that reads these."""
    return [{"$ref": f"#/components/parameters/{each.name}"} for each in headers]


def components() -> dict[str, dict[str, Any]]:
    """Return what the references lead to."""
    return {
        "headers": {
            each.key: {
                "description": each.description,
                "required": each.required,
                "schema": {"type": "string"},
                "example": each.example,
            }
            for each in RESPONSE_HEADERS
        },
        "parameters": {
            each.name: {
                "name": each.name,
                "in": "header",
                "description": each.description,
                "required": False,
                # The description again, as FastAPI has it: some generators look only there.
                "schema": each.schema | {"description": each.description},
            }
            for each in REQUEST_HEADERS
        },
    }
