"""The middleware of every request: its id, its log line, and the last resort for errors.

Hides ASGI messages from the handlers. Pure ASGI, as a middleware on top of Starlette's request
class would buffer streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from app.api import logged, problems
from app.api.headers import GIVEN_REQUEST_ID, NO_SNIFFING, REQUEST_ID, RESOURCE_POLICY
from app.api.probes import is_probe
from app.client import client_in
from app.errors import GatewayError, IncompleteBodyError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = structlog.get_logger(__name__)

# In the state of a request whose body the client has ended early, by closing its side.
INCOMPLETE = "imagegate.incomplete"
# As nginx's lingering_timeout.
_SILENCE_SECONDS = 5.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_to_every_answer(headers: MutableHeaders, request_id: str) -> None:
    """Add the headers that every answer has, also one to a request that is not valid HTTP."""
    headers[REQUEST_ID.name] = request_id
    headers[NO_SNIFFING.name] = NO_SNIFFING.value
    # Images and streams may say otherwise.
    headers.setdefault(RESOURCE_POLICY.name, RESOURCE_POLICY.example)


class RequestContext:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, linger_seconds: float) -> None:
        self._app = app
        self._linger_seconds = linger_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        # The last resort: any other error than a GatewayError is our own mistake.
        except Exception as error:
            if exchange.status:
                # Too late for another answer: the server cuts the connection, so that the client
                # sees an incomplete body.
                exchange.log_breaking_off(error)
                raise
            response = await problems.unexpected(Request(scope), error)
            await response(scope, exchange.receive, exchange.send)
        finally:
            exchange.log()
        await exchange.linger(self._linger_seconds)


class _Exchange:
    """One request and its response, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = time.monotonic()
        self._client = client_in(scope)
        headers = Headers(scope=scope)
        given = headers.get(GIVEN_REQUEST_ID.name, "")
        self._id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self._id
        # For lines about this request that other rooms write.
        structlog.contextvars.bind_contextvars(request_id=self._id)
        length = headers.get("content-length", "0")
        self._body_pending = length != "0" or "transfer-encoding" in headers
        self._is_incomplete = self._lingers = False

    async def receive(self) -> Message:
        """Pass on a message from the client.

        Raises:
            IncompleteBodyError: The rest of the body can never come.
        """
        if not self._is_incomplete:
            message = await self._receive()
            if message.get("more_body"):
                return message
            is_end = self._body_pending and message["type"] == "http.request"
            self._is_incomplete = is_end and INCOMPLETE in self._scope["state"]
            self._body_pending = False
            if not self._is_incomplete or message["body"]:
                return {**message, "more_body": self._is_incomplete}
        raise IncompleteBodyError("The connection was closed before the end of the body.")

    async def send(self, message: Message) -> None:
        """Pass on a message to the client."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            add_to_every_answer(headers, self._id)
            if self._body_pending or self._is_incomplete:
                # The rest of the body would be read as the next request.
                headers["Connection"] = "close"
        if self._body_pending and message["type"] == "http.response.body":
            # Its end closes the connection: that is for later.
            self._lingers = not message.get("more_body")
            message = {**message, "more_body": True}
        await self._send(message)

    async def linger(self, seconds: float) -> None:
        """Read on for a while behind an early answer, then close the connection.

        A connection that is closed with bytes unread is reset, and a client that sends all of its
        body before it reads would never see the answer (RFC 9112, section 9.6).
        """
        if not self._lingers:
            return
        with contextlib.suppress(TimeoutError, IncompleteBodyError):
            async with asyncio.timeout(seconds):
                while self._body_pending:
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        await self.receive()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def described(self) -> dict[str, object]:
        """Return the fields of each line about this request."""
        return {
            "method": self._scope["method"],
            "path": logged.path_of(self._scope),
            "status": self.status,
            **self._code(),
            "client": self._client,
            **self._principal(),
            "request_id": self._id,
        }

    def _code(self) -> dict[str, str]:
        code = self._scope["state"].get("code")
        return {"code": code} if code else {}

    def _principal(self) -> dict[str, str]:
        principal = self._scope["state"].get("principal")
        if principal is None:
            return {}
        link = {"link": principal.grant.link} if principal.grant else {}
        return ({"principal": principal.name} if principal.name else {}) | link

    def log_breaking_off(self, error: Exception) -> None:
        """Log that a response could not be finished."""
        # The framework wraps an error that comes too late for its handler.
        cause = error.__cause__ if isinstance(error.__cause__, GatewayError) else error
        if isinstance(cause, GatewayError):
            logger.warning("response_broken_off", **self.described(), cause=repr(cause))
        else:
            logger.error("response_broken_off", **self.described(), exc_info=error)

    def log(self) -> None:
        """Log how the request ended."""
        seconds = round(time.monotonic() - self._started, 4)
        if is_probe(self._scope["path"]):
            # Probes come every few seconds, for ever.
            logger.debug("request", **self.described(), seconds=seconds)
        else:
            logger.info("request", **self.described(), seconds=seconds)
