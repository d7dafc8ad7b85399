"""A route whose body is a small document of JSON, bounded before it is parsed.

Hides that FastAPI reads a body of any length, and for as long as it takes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.api import codings, digests
from app.errors import BodyTooLargeError, RequestTimeoutError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import Message

CONTENT_TYPE = "application/json"
_MAX_BYTES = 16_384
# It fits one packet or a few.
_PATIENCE_SECONDS = 10.0


class SmallBodyRoute(APIRoute):
    """A route that refuses a body which is large, slow, or no JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the bound in front of it."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            body = await _received(request)

            async def replay() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handler(Request(request.scope, replay))

        return bounded


async def _received(request: Request) -> bytes:
    codings.require_none(request.headers)
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != CONTENT_TYPE:
        raise UnsupportedMediaTypeError(
            f"A body of type {declared[:100]!r} is not accepted: send {CONTENT_TYPE}.", CONTENT_TYPE
        )
    given = digests.given_in(request.headers)
    body, more = b"", True
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body, more = body + message.get("body", b""), message.get("more_body", False)
                if len(body) > _MAX_BYTES:
                    raise BodyTooLargeError(f"This may have at most {_MAX_BYTES:,} bytes.")
    except TimeoutError as error:
        raise RequestTimeoutError(
            f"The body did not come within {_PATIENCE_SECONDS:.0f} seconds."
        ) from error
    given.update(body)
    given.verify()
    return body
