"""An answer in JSON, with a digest of its bytes where the client wants one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from app.api import digests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel
    from starlette.requests import Request


def answer(
    request: Request, model: BaseModel, headers: Mapping[str, str], status: int = 200
) -> Response:
    """Return the answer to a request."""
    body = model.model_dump_json().encode() + b"\n"
    digest = digests.of_content(request.headers, body)
    return Response(body, status, {**headers, **digest}, "application/json")
