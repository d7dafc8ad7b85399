"""HEAD and OPTIONS, which every path has beside its own methods (RFC 9110, sections 9.3.2, 9.3.7).

A HEAD is answered as a GET would be, without the body; of an endless answer only the headers are
awaited. A route that has one of the two itself answers it itself.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fastapi.routing import iter_route_contexts
from starlette.responses import Response
from starlette.routing import Route

from app.api.headers import ALLOW

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# In the order in which an answer names them.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# The target of an OPTIONS that asks about the server.
_SERVER = "*"


class Methods:
    """The methods of each path.

    Args:
        routes: Those of the application.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._paths: list[tuple[re.Pattern[str], set[str]]] = []
        self._literal: dict[str, set[str]] = defaultdict(set)
        for each in iter_route_contexts(routes):
            if isinstance(route := each.original_route, Route):
                methods = route.methods or set()
                self._paths.append((route.path_regex, methods))
                if not route.param_convertors:
                    self._literal[route.path] |= methods

    def own(self, path: str) -> set[str]:
        """Return the methods that the routes of a path have themselves; of `*`, those of all.

        A route of this very path comes before those for many.
        """
        if path in self._literal:
            return self._literal[path]
        return {
            method
            for regex, methods in self._paths
            if path == _SERVER or regex.match(path)
            for method in methods
        }

    def allowed(self, path: str) -> list[str]:
        """Return the methods that a path has; none where there is no such path."""
        own = self.own(path)
        added = {"OPTIONS"} | ({"HEAD"} if "GET" in own else set()) if own else set()
        return [method for method in _METHODS if method in own | added]


class MethodGuard:
    """ASGI middleware that answers the methods which no route has to name.

    Args:
        app: The application.
        methods: What each path has.
    """

    def __init__(self, app: ASGIApp, methods: Methods) -> None:
        self._app = app
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method = scope["method"] if scope["type"] == "http" else ""
        own = self._methods.own(scope["path"]) if method in ("HEAD", "OPTIONS") else {method}
        is_own = method in own and scope["path"] != _SERVER
        if method == "OPTIONS" and own and not is_own:
            allowed = ", ".join(self._methods.allowed(scope["path"]))
            await Response(status_code=204, headers={ALLOW.name: allowed})(scope, receive, send)
        elif method == "HEAD" and "GET" in own and not is_own:
            await self._app({**scope, "method": "GET"}, receive, _Headers(send).send)
        else:
            await self._app(scope, receive, send)


class _Headers:
    """The beginning of an answer; the rest is dropped."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_sent = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
        elif not self._is_sent:
            # The answer is complete: an endless one learns that its client has left.
            self._is_sent = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
