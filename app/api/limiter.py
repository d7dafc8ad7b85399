"""The refusal of requests whose client is at a limit, before the route and the body.

Hides which limits are in force: those that are set always, defaults only while clients need a
credential. What is left is said in each answer by `RateLimit` (draft-ietf-httpapi-ratelimit-headers
of May 2026, its version 11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from app.api import denials, problems
from app.api.headers import RATE_LIMIT, RATE_LIMIT_POLICY
from app.api.probes import is_probe
from app.client import NOBODY, address_in
from app.errors import RateLimitedError
from app.limits.meters import measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.limits.meters import Meter, Meters


class LimitGuard:
    """ASGI middleware that holds clients of a kind to their limits.

    Args:
        app: The application.
        meters: All limits.
        given: Those that are in force in any case.
        is_on: Whether all of them are.
        client: Names the client of a request; empty for none.
        max_body_bytes: What an upload of unknown length may have.
    """

    def __init__(
        self,
        app: ASGIApp,
        meters: Meters,
        given: Meters,
        is_on: Callable[[], bool],
        client: Callable[[Scope], str],
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._meters = meters
        self._given = given
        self._is_on = is_on
        self._client = client
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        meters = self._meters if self._is_on() else self._given
        if not meters.exist or scope["type"] != "http" or is_probe(scope["path"]):
            await self._app(scope, receive, send)
        elif client := self._client(scope):
            await self._serve(meters.of(client), meters.policy, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(
        self, meter: Meter, policy: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        upload_bytes = 0

        async def send_saying(message: Message) -> None:
            nonlocal upload_bytes
            if message["type"] == "http.response.start":
                # What is still read of a refused one keeps nobody else's from beginning.
                if upload_bytes:
                    meter.end_upload(upload_bytes)
                    upload_bytes = 0
                _say(MutableHeaders(scope=message), policy, meter.left())
            await send(message)

        async def send_measured(message: Message) -> None:
            if body := message.get("body"):
                await meter.pass_bytes(len(body))
            await send_saying(message)

        body_bytes = _announced_bytes(scope, self._max_body_bytes)
        try:
            meter.begin(body_bytes)
        except RateLimitedError as error:
            denials.log_limited(error, scope)
            answer = problems.answer(error, scope["state"]["request_id"])
            await answer(scope, receive, send_saying)
            return
        upload_bytes = body_bytes
        try:
            with measured(meter):
                await self._app(scope, receive, send_measured)
        finally:
            meter.end(upload_bytes)


def _say(headers: MutableHeaders, policy: str, left: str) -> None:
    if not policy:
        return
    # Another guard has said it of another kind of client.
    for name, value in ((RATE_LIMIT_POLICY.name, policy), (RATE_LIMIT.name, left)):
        others = headers.get(name)
        headers[name] = f"{value}, {others}" if others else value


def _announced_bytes(scope: Scope, most: int) -> int:
    """Return how many bytes the body of a request has, at most; 0 without one."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            # The server has checked that it is a number.
            return min(int(value), most)
        if name == b"transfer-encoding":
            return most
    return 0


def principal_of(scope: Scope) -> str:
    """Return the principal that a request counts for; empty for one without a credential."""
    return str(scope["state"].get("client", ""))


def address_of(scope: Scope) -> str:
    """Return the address, or network, of a request; empty for a socket that has none."""
    address = address_in(scope)
    return "" if address == NOBODY else address
