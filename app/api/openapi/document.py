"""The OpenAPI document, put together from what FastAPI derives and what it cannot.

Hides where each part comes from: operations from the handlers, what they read and answer from
`requests` and `responses`, and the components that those refer to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from app import __version__
from app.api import problems
from app.api.openapi import answers, headers, requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

_REFERENCE = "#/components/"


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    built: dict[str, Any] = get_openapi(
        title=app.title,
        version=__version__,
        openapi_version="3.1.0",
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "The gateway that this document came from."}],
    )
    # There is no authentication: this says so, rather than leave it open.
    built["security"] = []
    for path in built["paths"].values():
        for operation in path.values():
            operation.setdefault("parameters", []).extend(headers.read(headers.GIVEN_REQUEST_ID))
    _add_components(built)
    return built


def _add_components(built: dict[str, Any]) -> None:
    """Add what the operations refer to, and nothing else: linters mind what nobody uses."""
    components = built["components"]
    components["schemas"] |= {
        "Problem": problems.Problem.model_json_schema(),
        "UploadForm": requests.UPLOAD_FORM,
    }
    components |= headers.components()
    components["examples"] = answers.components() | requests.components()
    used = set(_references(built))
    for kind, named in components.items():
        components[kind] = {
            name: component for name, component in named.items() if f"{kind}/{name}" in used
        }


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(target := value.get("$ref"), str):
            yield target.removeprefix(_REFERENCE)
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
