"""The pages for people: `/`, and `/docs`, the interactive description of the API, with its data.

Hides where their files come from: `app/web/`, and the installed package `fastapi-swagger`, which
contains Swagger UI. Nothing comes from the internet, as the Content-Security-Policy ensures.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

from app.api import revalidated
from app.api.guard import open_to_all

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from starlette.types import Scope

router = APIRouter(include_in_schema=False)

_GET = ["GET", "HEAD"]
# Scripts, styles and answers of this gateway alone; Swagger UI shows icons and downloaded images
# by data: and blob:.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Browsers ask each time and get a 304: an upgrade shows at once.
_KEPT = {"Cache-Control": "no-cache"}
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    # Under `no-referrer`, the form of a browser without scripts would be sent with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    **_KEPT,
}


class Description:
    """The description of the API, which is made once: that takes 60 ms."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make

    @cached_property
    def text(self) -> bytes:
        """Its JSON."""
        return json.dumps(self._make(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class _Files(StaticFiles):
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        return response


_FILES = _Files(
    directory=Path(__file__).parents[1] / "web", packages=[("fastapi_swagger", "resources")]
)


async def _file(path: str, request: Request) -> Response:
    # A range is no use in small files, and Starlette refuses a malformed one in plain text.
    request.scope["headers"] = [each for each in request.scope["headers"] if each[0] != b"range"]
    return await _FILES.get_response(path, request.scope)


@router.api_route("/", methods=_GET)
@open_to_all
async def start_page(request: Request) -> Response:
    """Return the start page: a form for uploads, and the last pictures."""
    return await _file("index.html", request)


@router.get("/openapi.json")
@open_to_all
async def description(request: Request) -> Response:
    """Return the description of the API."""
    described: Description = request.app.state.description
    return revalidated.answer(request.headers, described.text, _KEPT)


@router.api_route("/docs", methods=_GET)
@open_to_all
async def docs_page(request: Request) -> Response:
    """Return the description of the API, where requests can be tried out."""
    return await _file("docs.html", request)


@router.api_route("/web/{path:path}", methods=_GET)
@open_to_all
async def page_file(path: str, request: Request) -> Response:
    """Return a script, a style sheet or an icon."""
    return await _file(path, request)
