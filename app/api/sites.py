"""Web sites in a browser: which may use the gateway, and how the others are refused.

Hides the rules of `Host` and `Origin`. A page of any site can send requests to an address that its
visitor reaches, such as 127.0.0.1. It is refused

- under a name that is not the gateway's, as a site can point its own name here (DNS rebinding);
- where the request changes something and comes from a page of another origin (CSRF).

Programs that are no browsers send no `Origin`. What other origins may read, browsers enforce by the
headers that are sent here (Fetch standard, sections 3.3 and 3.7).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from app.api import (
    authority,
    conditions,
    denials,
    digests,
    guard,
    idempotency,
    logged,
    problems,
    streams,
)
from app.api.headers import ALLOW_ORIGIN, EXPOSE_HEADERS, GIVEN_REQUEST_ID
from app.api.probes import is_probe
from app.errors import CrossSiteError, GatewayError, MisdirectedRequestError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.api.authority import Authority

# Browsers resolve these to loopback whatever a name server says (RFC 6761, section 6.3).
LOOPBACK_NAMES = ("localhost", "*.localhost")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE, OPTIONS",
    # What handlers read; those that browsers never ask for need no place here.
    "Access-Control-Allow-Headers": ", ".join(
        (
            "Accept",
            "Content-Type",
            *(
                each.name
                for each in (
                    conditions.RANGE,
                    conditions.IF_RANGE,
                    conditions.IF_MATCH,
                    conditions.IF_NONE_MATCH,
                    streams.LAST_EVENT_ID,
                    digests.GIVEN_CONTENT_DIGEST,
                    digests.GIVEN_REPR_DIGEST,
                    digests.WANT_CONTENT_DIGEST,
                    digests.WANT_REPR_DIGEST,
                    GIVEN_REQUEST_ID,
                    idempotency.IDEMPOTENCY_KEY,
                    guard.AUTHORIZATION,
                    guard.API_KEY,
                )
            ),
        )
    ),
    # Chromium's own upper limit.
    "Access-Control-Max-Age": "7200",
}
# As they are logged and counted.
_REASONS: dict[type[GatewayError], str] = {
    MisdirectedRequestError: "host",
    CrossSiteError: "origin",
}


class SiteGuard:
    """ASGI middleware that refuses requests of web sites, and answers preflights.

    Args:
        app: The application.
        hosts: Names that a request may be for; none of them allows any.
        origins: Origins whose pages may do everything.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> None:
        self._app = app
        self._names = frozenset(each for each in hosts if not each.startswith("*."))
        self._endings = tuple(each[1:] for each in hosts if each.startswith("*."))
        self._any = not hosts
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if error := self._refusal(scope, headers):
            await _refuse(error, headers, scope, receive, send)
        elif _is_preflight(scope, headers) and _is_among(headers, self._origins):
            response = Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> GatewayError | None:
        host = _authority(headers)
        # Probes of orchestrators name the host as they like, and get no secret.
        if not self._is_ours(host) and not is_probe(scope["path"]):
            return MisdirectedRequestError(
                "The gateway has no such host name; its operator can add one to"
                " IMAGEGATE_HTTP__HOSTS."
            )
        changes = scope["method"] not in _SAFE or _is_preflight(scope, headers)
        if changes and self._is_foreign(scope, headers, host):
            return CrossSiteError(
                "A page of another origin sent this; the gateway's operator can allow it in"
                " IMAGEGATE_HTTP__CORS_ORIGINS."
            )
        return None

    def _is_ours(self, host: Authority | None) -> bool:
        if host is None:
            return False
        if self._any or host.is_address or host.host in self._names:
            return True
        return host.host.endswith(self._endings)

    def _is_foreign(self, scope: Scope, headers: Headers, host: Authority | None) -> bool:
        site = headers.get("sec-fetch-site")
        if _is_among(headers, self._origins):
            return False
        if site == "cross-site":
            return True
        given = headers.getlist("origin")
        if not given:
            # Another port of this machine is the same site, and another origin.
            return site == "same-site"
        origin = authority.origin(given[0]) if len(given) == 1 else None
        if origin is None or host is None:
            return True
        # Behind a proxy that ends TLS, the scheme here is not that of the page.
        return site != "same-origin" and origin != host.origin(scope["scheme"])


class CrossOriginHeaders:
    """ASGI middleware that lets pages of allowed origins read every answer, problems included.

    Args:
        app: The application.
        origins: Origins whose pages may read.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Caches would give one origin's answer to another.
                headers.add_vary_header("Origin")
                if _is_among(request, self._origins):
                    headers[ALLOW_ORIGIN.name] = request["origin"]
                    headers[EXPOSE_HEADERS.name] = EXPOSE_HEADERS.value
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def _refuse(
    error: GatewayError, headers: Headers, scope: Scope, receive: Receive, send: Send
) -> None:
    denials.log_refused(
        _REASONS[type(error)],
        error,
        scope,
        method=scope["method"],
        path=logged.path_of(scope),
        host=headers.get("host", "")[: logged.MAX_CHARACTERS],
        origin=headers.get("origin", "")[: logged.MAX_CHARACTERS],
    )
    await problems.answer(error, scope["state"]["request_id"])(scope, receive, send)


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _authority(headers: Headers) -> Authority | None:
    given = headers.getlist("host")
    return authority.parse(given[0]) if len(given) == 1 else None


def _is_among(headers: Headers, origins: Collection[str]) -> bool:
    given = headers.getlist("origin")
    return len(given) == 1 and authority.origin(given[0]) in origins
