"""Errors as `application/problem+json` (RFC 9457), the framework's own included.

Hides how an error becomes an answer. This is the only mapper: handlers never catch, and nothing
else writes a problem. A 5xx is logged here, once, with the cause that no client sees.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from app.api import denials, examples, logged
from app.api.headers import ALLOW, NO_STORE
from app.api.methods import Methods
from app.errors import (
    GatewayError,
    InternalError,
    InvalidParameterError,
    NotReadyError,
    OverloadedError,
    RateLimitedError,
    ShareExceededError,
)
from app.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

logger = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
_RETRY_AFTER = "Retry-After"
# The cause of not being ready is logged once, where it arises, and not with every probe; that of an
# overload once a second, as it has thousands of requests.
_LOGGED_ONCE = (NotReadyError, OverloadedError)
# nginx's status for a client that left; nobody reads the answer.
_CLIENT_CLOSED_REQUEST = 499


class Problem(BaseModel):
    """A problem (RFC 9457): what went wrong, and whether to try again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:imagegate:problem:image-not-found",
                    "title": "Image not found",
                    "status": 404,
                    "detail": "There is no image with this id.",
                    "code": "image-not-found",
                    "retryable": False,
                    "request_id": examples.REQUEST_ID,
                }
            ]
        }
    )

    type: str = Field(description="A URN that names the kind of problem; it never changes.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.", ge=100, le=599)
    detail: str = Field(description="What happened, in words.")
    code: str = Field(
        description="The last part of `type`. Each answer of an operation lists its own; there may"
        " be more in later versions.",
    )
    retryable: bool = Field(description="Whether the same request may succeed later.")
    request_id: str = Field(description="Id of the request in the server's log.")
    retry_after: int | None = Field(
        None,
        description="Seconds after which to try again, where the gateway names a time: as the"
        " header `Retry-After`, which a problem within an answer cannot have.",
        ge=0,
    )
    outcome: str | None = Field(
        None, description="`unknown` when the image may or may not have been stored."
    )


class JsonLine(JSONResponse):
    """JSON with a line end, so that a terminal shows its prompt on a line of its own."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        return super().render(content) + b"\n"


class _ProblemLine(JsonLine):
    """A problem; the line of its request in the log has its code."""

    def __init__(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        headers = headers | {NO_STORE.name: NO_STORE.value}
        super().__init__(body, body["status"], headers, media_type=CONTENT_TYPE)
        self._code = body["code"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        scope.setdefault("state", {})["code"] = self._code
        await super().__call__(scope, receive, send)


def body_of(
    error: GatewayError | type[GatewayError], detail: str, request_id: str
) -> dict[str, Any]:
    """Return the JSON of an error's problem."""
    return _body(error.status, error.code, error.title, detail, request_id, error.retryable)


def body_of_status(status: HTTPStatus, detail: str, request_id: str) -> dict[str, Any]:
    """Return the JSON of a problem that the framework reports."""
    code = status.phrase.lower().replace(" ", "-")
    return _body(status, code, status.phrase, detail, request_id, retryable=False)


def install(app: FastAPI) -> None:
    """Register the mapper; any other exception reaches `unexpected` through a middleware."""
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def answer(
    error: GatewayError, request_id: str, members: Mapping[str, Any] | None = None
) -> Response:
    """Return the response for an error, with further members of its problem."""
    # The class says the names: an instance may come from a codec worker, which is not trusted.
    headers = {name: error.header_values[name] for name in type(error).headers}
    return _response(_body_of_raised(error, request_id) | dict(members or {}), headers)


async def answer_to(request: Request, error: GatewayError | ClientDisconnect) -> Response:
    """Return the response for an error of a handler that is called without the framework."""
    if isinstance(error, GatewayError):
        return await _on_gateway_error(request, error)
    return await _on_disconnect(request, error)


async def unexpected(request: Request, error: Exception) -> Response:
    """Return the response for a mistake of the gateway's own."""
    internal = InternalError("The gateway made a mistake; its log names it under the request id.")
    internal.__cause__ = error
    return await _on_gateway_error(request, internal)


def reported(request: Request, error: GatewayError) -> dict[str, Any]:
    """Return the JSON of an error's problem within an answer, and log and count the error."""
    _report(request, error)
    metrics.PROBLEMS.labels(error.code).inc()
    return _body_of_raised(error, _request_id(request))


def broken_off(request: Request, error: GatewayError, **members: Any) -> Response:
    """Return the response for an error with members of its own beside those of every problem."""
    _report(request, error)
    return answer(error, _request_id(request), members)


async def _on_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for this class
    _report(request, error)
    return answer(error, _request_id(request))


def _report(request: Request, error: GatewayError) -> None:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, _LOGGED_ONCE):
        logger.error(
            "request_failed",
            code=error.code,
            detail=error.reason,
            method=request.method,
            path=logged.path_of(request.scope),
            request_id=_request_id(request),
            exc_info=error.__cause__ if error.status == HTTPStatus.INTERNAL_SERVER_ERROR else None,
            cause=repr(error.__cause__) if error.__cause__ else None,
        )
    if denials.is_denial(error):
        denials.log(error, request.scope)
    if isinstance(error, RateLimitedError):
        denials.log_limited(error, request.scope)
    if isinstance(error, ShareExceededError):
        denials.log_refused("share", error, request.scope)
    if isinstance(error, OverloadedError):
        denials.log_refused("load", error, request.scope)


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    problems = [f"{_place(each['loc'])}: {_said(each)}" for each in error.errors()]
    return answer(InvalidParameterError("; ".join(problems) + "."), _request_id(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Map errors of the framework: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers[ALLOW.name] = ", ".join(Methods(request.app.routes).allowed(request.scope["path"]))
    detail = f"{request.method} {request.url.path}: {error.detail}."
    return _response(body_of_status(status, detail, _request_id(request)), headers)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


def _body_of_raised(error: GatewayError, request_id: str) -> dict[str, Any]:
    body = body_of(error, error.detail, request_id)
    if _RETRY_AFTER in type(error).headers:
        body["retry_after"] = int(error.header_values[_RETRY_AFTER])
    return body


def _response(body: dict[str, Any], headers: dict[str, str]) -> Response:
    metrics.PROBLEMS.labels(body["code"]).inc()
    return _ProblemLine(body, headers)


def _body(
    status: int, code: str, title: str, detail: str, request_id: str, retryable: bool
) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": f"urn:imagegate:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "request_id": request_id,
    }
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        problem["outcome"] = "unknown"
    return problem


def _said(problem: dict[str, Any]) -> str:
    # Pydantic's words name neither a member nor a parameter.
    return "There is no such name here" if problem["type"] == "extra_forbidden" else problem["msg"]


def _place(location: tuple[str | int, ...]) -> str:
    return " ".join(map(str, location))


def _request_id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))
