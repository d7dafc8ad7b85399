"""Headers as constants: handlers set or read them, and the API's description lists them.

Headers of one operation are beside it, headers of all are here. `Content-Type` has no constant
because OpenAPI ignores it among the headers, and those of the connection (`Connection`, `Date`,
`Transfer-Encoding`) have none because the server sets them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.api import examples


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """A header of an answer.

    Args:
        name: Its name, as it is sent.
        description: Its meaning, in a sentence.
        example: A value.
        variant: Tells it from another header of this name in the document.
        required: Whether every answer that lists it has it.
    """

    name: str
    description: str
    example: str
    variant: str = ""
    required: bool = True

    @property
    def component(self) -> str:
        """Its name among the components of the document."""
        return f"{self.name}-{self.variant}" if self.variant else self.name


@dataclass(frozen=True, slots=True)
class FixedHeader(ResponseHeader):
    """A header with one value in every answer that has it."""

    @property
    def value(self) -> str:
        """The value."""
        return self.example


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A header that a client may send and a handler reads itself.

    There is no example, as `/docs` would send it with every request.
    """

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


GIVEN_REQUEST_ID = RequestHeader(
    "X-Request-ID",
    "Up to 64 letters, digits, `.`, `_` and `-`, to find the request in the gateway's log."
    " Any other value is replaced.",
)

_REQUEST_ID = "Id of the request in the gateway's log: the client's own, or a new one."
_NO_SNIFFING = "Forbids browsers to guess another content type."
REQUEST_ID = ResponseHeader("X-Request-ID", _REQUEST_ID, examples.REQUEST_ID)
NO_SNIFFING = FixedHeader("X-Content-Type-Options", _NO_SNIFFING, "nosniff")
NO_STORE = FixedHeader("Cache-Control", "Caches must not keep it.", "no-store", variant="No-Store")
ALLOW = ResponseHeader("Allow", "Methods of this path; with a 405.", "GET, POST", required=False)
# Of web pages.
RESOURCE_POLICY = ResponseHeader(
    "Cross-Origin-Resource-Policy",
    "Pages that may embed it.",
    "same-origin",
)
_SITES = "Only where the server allows other origins (`IMAGEGATE_HTTP__CORS_ORIGINS`)."
ALLOW_ORIGIN = ResponseHeader(
    "Access-Control-Allow-Origin",
    f"The origin whose page may read the answer. {_SITES}",
    "https://app.example",
    required=False,
)
EXPOSE_HEADERS = FixedHeader(
    "Access-Control-Expose-Headers",
    f"Headers that such a page may read. {_SITES}",
    "Accept, Accept-Encoding, Accept-Post, Accept-Ranges, Allow, Content-Digest,"
    " Content-Disposition, Content-Range, ETag, Idempotency-Replayed, Link, Location, RateLimit,"
    " RateLimit-Policy, Repr-Digest, Retry-After, WWW-Authenticate, X-Request-ID",
    required=False,
)
VARY = ResponseHeader(
    "Vary",
    "Headers that the answer depends on: `Accept-Encoding` for JSON, `Authorization` and"
    " `X-API-Key` for an image that is not public, `Origin` where the server allows other origins"
    " (`IMAGEGATE_HTTP__CORS_ORIGINS`).",
    "Authorization, X-API-Key, Origin",
    required=False,
)
OF_SITES = (RESOURCE_POLICY, ALLOW_ORIGIN, EXPOSE_HEADERS, VARY)
# Lists and descriptions of images change: a browser asks again, and no shared cache keeps them.
# draft-ietf-httpapi-ratelimit-headers-11, of clients that have limits.
RATE_LIMIT_POLICY = ResponseHeader(
    "RateLimit-Policy",
    "Limits of the client: `q` requests, or bytes, in `w` seconds. Only where there are any.",
    '"principal-requests";q=10000;w=10',
    required=False,
)
RATE_LIMIT = ResponseHeader(
    "RateLimit",
    "What is left of each: `r` now, and more in `t` seconds. Only where there are any.",
    '"principal-requests";r=9999;t=1',
    required=False,
)
PRIVATE = FixedHeader(
    "Cache-Control",
    "Only the client may keep it, and asks again before each use.",
    "private, no-cache",
    variant="Private",
)
