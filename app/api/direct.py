"""The calls that are answered without the framework: uploads and downloads, which are most of all.

Hides how a request finds the handler of such a call. Their routes are declared and described like
all others, and their handlers take the same arguments. But FastAPI's way to a handler (a search
through the routes, dependencies that are solved and validated, four layers that handle exceptions)
costs more than a small download itself (docs/performance.md).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fastapi.routing import iter_route_contexts
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route

from app.api import problems
from app.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_DIRECT = "__imagegate_direct__"

Handler = TypeVar("Handler", bound="Callable[..., object]")


def answered_directly(handler: Handler) -> Handler:
    """Declare that a handler needs nothing of the framework.

    It takes a `request`, the `gateway`, and the part of the path that its route names: none, or
    the last one, as it is.
    """
    setattr(handler, _DIRECT, True)
    return handler


class _Member(NamedTuple):
    """The handler of the members of a path, and the name and form of the last part of theirs."""

    handler: Callable[..., Awaitable[Response]]
    name: str
    pattern: re.Pattern[str]


class DirectCalls:
    """ASGI middleware that calls the handlers which are answered directly.

    Args:
        app: The framework, for all other calls.
        api: The application with the routes.
    """

    def __init__(self, app: ASGIApp, api: FastAPI) -> None:
        self._app = app
        self._api = api
        # By method and path, or by method and the path of what they are a member of.
        self._fixed: dict[tuple[str, str], Callable[..., Awaitable[Response]]] = {}
        self._members: dict[tuple[str, str], _Member] = {}
        for each in iter_route_contexts(api.routes):
            route = each.original_route
            if isinstance(route, Route) and hasattr(route.endpoint, _DIRECT):
                self._add(route)

    def _add(self, route: Route) -> None:
        parent = route.path.rpartition("/")[0]
        for method in route.methods or ():
            if route.param_convertors:
                [(name, convertor)] = route.param_convertors.items()
                pattern = re.compile(convertor.regex)
                self._members[method, parent] = _Member(route.endpoint, name, pattern)
            else:
                self._fixed[method, route.path] = route.endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        call = self._call(scope) if scope["type"] == "http" else None
        if call is None:
            await self._app(scope, receive, send)
            return
        handler, arguments = call
        request = Request(scope, receive, send)
        try:
            response = await handler(request=request, gateway=self._api.state.gateway, **arguments)
        except (GatewayError, ClientDisconnect) as error:
            response = await problems.answer_to(request, error)
        await response(scope, receive, send)

    def _call(
        self, scope: Scope
    ) -> tuple[Callable[..., Awaitable[Response]], dict[str, str]] | None:
        """Return the handler of a call and its arguments from the path; None of another call."""
        method, path = scope["method"], scope["path"]
        if (handler := self._fixed.get((method, path))) is not None:
            return handler, {}
        parent, _, last = path.rpartition("/")
        found = self._members.get((method, parent))
        if found is None or not found.pattern.fullmatch(last):
            return None
        return found.handler, {found.name: last}
