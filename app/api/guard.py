"""Who may do what: each route declares it, and it is checked before the route and the body.

Hides how a request finds the declaration of its route. What declares nothing is denied to everyone
but `admin`, and so is every path that does not exist to those who show no credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers
from starlette.routing import Route

from app.access.principal import ANONYMOUS, Principal
from app.access.scopes import Scope
from app.api import denials, problems
from app.api.headers import RequestHeader
from app.errors import CredentialRequiredError, GatewayError, InsufficientScopeError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as AsgiScope

    from app.access.access import Access

API_KEY = RequestHeader("X-API-Key", "An API key.")
AUTHORIZATION = RequestHeader("Authorization", "`Bearer`, and an API key or a token.")

_DECLARED = "__imagegate_scope__"
_OR_PUBLIC = "__imagegate_or_public__"

Handler = TypeVar("Handler", bound="Callable[..., object]")


def requires(scope: Scope, *, or_public: bool = False) -> Callable[[Handler], Handler]:
    """Declare the scope that a route needs.

    With `or_public` the handler itself refuses those who lack it, unless the image is public.
    """

    def declare(handler: Handler) -> Handler:
        setattr(handler, _DECLARED, scope)
        setattr(handler, _OR_PUBLIC, or_public)
        return handler

    return declare


def open_to_all(handler: Handler) -> Handler:
    """Declare that a route needs no credential."""
    setattr(handler, _DECLARED, None)
    return handler


def is_declared(handler: Callable[..., object]) -> bool:
    """Tell whether a route says who may use it."""
    return hasattr(handler, _DECLARED)


def scope_of(handler: Callable[..., object]) -> Scope | None:
    """Return the scope that a route needs; None if it is open to all."""
    scope: Scope | None = getattr(handler, _DECLARED, Scope.ADMIN)
    return scope


def is_for_public_too(handler: Callable[..., object]) -> bool:
    """Tell whether a route serves public images to those who lack its scope."""
    return getattr(handler, _OR_PUBLIC, False)


@dataclass(frozen=True, slots=True)
class _Rule:
    """The scope that a route needs, by its path and methods."""

    path: re.Pattern[str]
    methods: Collection[str]
    scope: Scope | None
    or_public: bool


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
        if principal.name:
            # For shares and limits, whatever address it comes from.
            scope["state"]["client"] = principal.name
        await self._app(scope, receive, send)

    async def _admitted(self, asgi: AsgiScope) -> Principal:
        headers = Headers(scope=asgi)
        needed, or_public = self._needed(asgi)
        try:
            principal = await self._access.principal(
                headers.get(AUTHORIZATION.name), headers.get(API_KEY.name)
            )
        except GatewayError:
            if needed is not None:
                raise
            # A probe with a key that has expired finds the gateway as healthy as it is.
            principal = ANONYMOUS
        # Also for the line in the log, if it is refused.
        asgi["state"]["principal"] = principal
        if needed is not None and not or_public:
            _require(principal, needed)
        return principal

    def _needed(self, asgi: AsgiScope) -> tuple[Scope | bool | None, bool]:
        """Return the scope that a request needs, and whether its handler looks for a public image.

        True stands for any credential, None for none at all.
        """
        method, path = asgi["method"], asgi["path"]
        if method == "OPTIONS":
            return None, False
        for rule in self._rules:
            if method in rule.methods and rule.path.match(path):
                return rule.scope, rule.or_public
        return True, False


def principal_in(asgi: AsgiScope) -> Principal:
    """Return who sent a request, whose ASGI scope this is."""
    principal: Principal = asgi["state"]["principal"]
    return principal


def _require(principal: Principal, needed: Scope | bool) -> None:
    if principal is ANONYMOUS:
        raise CredentialRequiredError
    if isinstance(needed, Scope) and not principal.may(needed):
        raise InsufficientScopeError(needed)


async def _refuse(error: GatewayError, asgi: AsgiScope, receive: Receive, send: Send) -> None:
    denials.log(error, asgi)
    await problems.answer(error, asgi["state"]["request_id"])(asgi, receive, send)
