"""Who may do what: each route declares it, and it is checked before the route and the body.

Hides how a request finds the declaration of its route. What declares nothing is denied to everyone
but `admin`, and so is every path that does not exist to those who show no credential.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers
from starlette.routing import Route

from app.access import links
from app.access.principal import ANONYMOUS, Principal
from app.access.scopes import Scope
from app.api import denials, problems
from app.api.headers import RequestHeader
from app.errors import (
    CredentialRequiredError,
    GatewayError,
    InsufficientScopeError,
    InvalidCredentialError,
    InvalidLinkError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as AsgiScope

    from app.access.access import Access

API_KEY = RequestHeader("X-API-Key", "An API key.")
AUTHORIZATION = RequestHeader("Authorization", "`Bearer`, and an API key or a token.")

_DECLARED = "__imagegate_scope__"
_OR_PUBLIC = "__imagegate_or_public__"
_OR_LINK = "__imagegate_or_link__"
_LINK_PATH = "__imagegate_link_path__"

Handler = TypeVar("Handler", bound="Callable[..., object]")


def requires(
    scope: Scope, *, or_public: bool = False, or_link: bool = False, link_path: str = ""
) -> Callable[[Handler], Handler]:
    """Declare the scope that a route needs.

    With `or_public` the handler itself refuses those who lack it, unless the image is public; with
    `or_link` a signed link will do: one for the route's own path, or else for `link_path`.
    """

    def declare(handler: Handler) -> Handler:
        setattr(handler, _DECLARED, scope)
        setattr(handler, _OR_PUBLIC, or_public)
        setattr(handler, _OR_LINK, or_link)
        setattr(handler, _LINK_PATH, link_path)
        return handler

    return declare


def requires_any(handler: Handler) -> Handler:
    """Declare that a route needs a credential, and asks for a scope itself (`require`)."""
    setattr(handler, _DECLARED, True)
    return handler


def open_to_all(handler: Handler) -> Handler:
    """Declare that a route needs no credential."""
    setattr(handler, _DECLARED, None)
    return handler


def is_declared(handler: Callable[..., object]) -> bool:
    """Tell whether a route says who may use it."""
    return hasattr(handler, _DECLARED)


def scope_of(handler: Callable[..., object]) -> Scope | bool | None:
    """Return the scope that a route needs: True for any, None if it is open to all."""
    scope: Scope | bool | None = getattr(handler, _DECLARED, Scope.ADMIN)
    return scope


def is_for_public_too(handler: Callable[..., object]) -> bool:
    """Tell whether a route serves public images to those who lack its scope."""
    return getattr(handler, _OR_PUBLIC, False)


def takes_link(handler: Callable[..., object]) -> bool:
    """Tell whether a route can be used by a signed link."""
    return getattr(handler, _OR_LINK, False)


def link_path_of(handler: Callable[..., object]) -> str:
    """Return the path that links for a route are signed for; empty if it is the route's own."""
    path: str = getattr(handler, _LINK_PATH, "")
    return path


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a route needs, by its path and methods: a scope, or a link where it takes one."""

    path: re.Pattern[str]
    methods: Collection[str]
    scope: Scope | bool | None
    or_public: bool = False
    or_link: bool = False
    link_path: str = ""


# A path or a method that does not exist is hidden from strangers.
_NO_ROUTE = _Rule(re.compile(""), (), scope=True)
_PREFLIGHT = _Rule(re.compile(""), (), scope=None)


class AccessGuard:
    """ASGI middleware that finds out who sent a request, and refuses what they may not do.

    Args:
        app: The application.
        access: Turns credentials into principals.
        api: The application with the routes.
    """

    def __init__(self, app: ASGIApp, access: Access, api: FastAPI) -> None:
        self._app = app
        self._access = access
        self._rules = [
            _Rule(
                route.path_regex,
                route.methods or (),
                scope_of(route.endpoint),
                is_for_public_too(route.endpoint),
                takes_link(route.endpoint),
                link_path_of(route.endpoint),
            )
            for each in iter_route_contexts(api.routes)
            if isinstance(route := each.original_route, Route)
        ]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._admitted(scope)
        except GatewayError as error:
            await _refuse(error, scope, receive, send)
            return
        if principal.name and principal.grant is None:
            # For shares and limits, whatever address it comes from. Who has a link may be anyone.
            scope["state"]["client"] = principal.name
        await self._app(scope, receive, send)

    async def _admitted(self, asgi: AsgiScope) -> Principal:
        rule = self._rule(asgi)
        try:
            principal = await self._principal(asgi, rule)
        except GatewayError:
            if rule.scope is not None:
                raise
            # A probe with a key that has expired finds the gateway as healthy as it is.
            principal = ANONYMOUS
        # Also for the line in the log, if it is refused.
        asgi["state"]["principal"] = principal
        if rule.scope is not None and not rule.or_public:
            _require(principal, rule.scope)
        return principal

    async def _principal(self, asgi: AsgiScope, rule: _Rule) -> Principal:
        headers = Headers(scope=asgi)
        given = _once(headers, AUTHORIZATION.name), _once(headers, API_KEY.name)
        if not links.is_shown(asgi["query_string"]):
            return await self._access.principal(*given)
        if self._access.is_on and given != (None, None):
            raise InvalidCredentialError("Use a link, or send a credential, not both.")
        if not (rule.or_link and isinstance(rule.scope, Scope)):
            raise InvalidLinkError("Links are not for this.")
        operation = links.Operation(rule.scope, rule.link_path or asgi["path"])
        return self._access.linked(operation, asgi["query_string"])

    def _rule(self, asgi: AsgiScope) -> _Rule:
        method, path = asgi["method"], asgi["path"]
        if method == "OPTIONS":
            return _PREFLIGHT
        for rule in self._rules:
            if method in rule.methods and rule.path.match(path):
                return rule
        return _NO_ROUTE


def _once(headers: Headers, name: str) -> str | None:
    """Return the value of a header, of which a proxy might look at another than the gateway."""
    values = headers.getlist(name)
    if len(values) > 1:
        raise InvalidCredentialError(f"Send {name} once.")
    return values[0] if values else None


def principal_in(asgi: AsgiScope) -> Principal:
    """Return who sent a request, whose ASGI scope this is."""
    principal: Principal = asgi["state"]["principal"]
    return principal


def require(asgi: AsgiScope, needed: Scope) -> None:
    """Check in a handler that who sent the request has a scope.

    Raises:
        InsufficientScopeError: Not this one.
    """
    _require(principal_in(asgi), needed)


def _require(principal: Principal, needed: Scope | bool) -> None:
    if principal is ANONYMOUS:
        raise CredentialRequiredError
    if isinstance(needed, Scope) and not principal.may(needed):
        raise InsufficientScopeError(needed)


async def _refuse(error: GatewayError, asgi: AsgiScope, receive: Receive, send: Send) -> None:
    denials.log(error, asgi)
    await problems.answer(error, asgi["state"]["request_id"])(asgi, receive, send)
