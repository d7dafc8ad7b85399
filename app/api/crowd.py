"""The refusal of requests that come over too many connections.

The server counts connections (`app/server/connections.py`) and marks those beyond a limit; one
request of each is answered here. A connection from a proxy carries requests of many clients, which
are counted here.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from app.api import denials, problems
from app.api.probes import is_probe
from app.client import client_in
from app.errors import GatewayError, OverloadedError, ShareExceededError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The key of the mark in the state of a request, and of one that came through a proxy.
BEYOND, BY_PROXY = "beyond", "by_proxy"


class Beyond(StrEnum):
    """The limit that the connection of a request is beyond."""

    ALL = "all"
    CLIENT = "client"


class CrowdGuard:
    """ASGI middleware that refuses requests over the limits of connections.

    Args:
        app: The application.
        client_limit: Requests at once of one client behind a proxy.
    """

    def __init__(self, app: ASGIApp, client_limit: int) -> None:
        self._app = app
        self._client_limit = client_limit
        self._counts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        state = scope.get("state", {})
        if BEYOND in state:
            await self._serve_last(scope, receive, send)
        elif BY_PROXY in state:
            await self._serve_counted(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve_last(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        if is_probe(scope["path"]):
            await self._app(scope, receive, send_closing)
        elif scope["state"][BEYOND] is Beyond.CLIENT:
            await _refuse(_too_many(), scope, receive, send_closing)
        else:
            error = OverloadedError("Too many connections are open.")
            await _refuse(error, scope, receive, send_closing)

    async def _serve_counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = client_in(scope)
        if self._counts[client] >= self._client_limit and not is_probe(scope["path"]):
            await _refuse(_too_many(), scope, receive, send)
            return
        self._counts[client] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]


def _too_many() -> GatewayError:
    return ShareExceededError("This client has too many connections open.")


async def _refuse(error: GatewayError, scope: Scope, receive: Receive, send: Send) -> None:
    denials.log_refused("connections", error, scope)
    await problems.answer(error, scope["state"]["request_id"])(scope, receive, send)
