"""The OpenAPI document, from FastAPI's description and those beside the handlers.

Hides how the two are put together: FastAPI derives operations, parameters and schemas of JSON; each
route adds its answers and its request body, and the components that those refer to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from app import __version__
from app.access.links import SIGNATURE
from app.access.scopes import Scope
from app.api import headers, problems
from app.api.guard import API_KEY, is_for_public_too, scope_of, takes_link
from app.api.openapi import enumerations
from app.api.openapi.components import gather, read, refer
from app.api.openapi.integers import give_formats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

_REFERENCE = "#/components/"
_SERVERS: list[dict[str, Any]] = [
    {"url": "/", "description": "The gateway that serves this document."},
    {
        "url": "{scheme}://{address}",
        "description": "Any gateway; unless told otherwise, the one of `make run`.",
        "variables": {
            "scheme": {
                "default": "http",
                "enum": ["http", "https"],
                "description": "`https` where the gateway, or a proxy, has a certificate.",
            },
            "address": {"default": "localhost:8080", "description": "Host and port."},
        },
    },
]
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key. A gateway on a loopback address without any key needs none."
        " Each operation names the scope that it needs; `admin` has all of them.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY.name,
        "description": "The same API key, for clients that set `Authorization` for something else.",
    },
    "link": {
        "type": "apiKey",
        "in": "query",
        "name": SIGNATURE,
        "description": "A signed link, whole, as `POST /links` made it.",
    },
}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    derived = get_openapi(
        title=app.title,
        version=__version__,
        openapi_version="3.1.0",
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=_SERVERS,
    )
    built: dict[str, Any] = refer(derived)
    built["components"]["securitySchemes"] = _SCHEMES
    built["security"] = []
    for path, method, security in _needs(app):
        built["paths"][path][method]["security"] = security
    everywhere = read(headers.GIVEN_REQUEST_ID)
    for path in built["paths"].values():
        for operation in path.values():
            given = map(_without_null, operation.get("parameters", []))
            operation["parameters"] = [*given, *everywhere]
            # FastAPI has the one that it derives first.
            operation["responses"] = dict(sorted(operation["responses"].items()))
    _add_components(built, [*_described(app), everywhere])
    built["components"]["schemas"].update(enumerations.components(_codes(built)))
    give_formats(built)
    return built


def _without_null(parameter: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter that is left out where there is none: no text means null."""
    schema = parameter.get("schema", {})
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return parameter
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return parameter | {"schema": kinds[0] | rest}


def _codes(built: dict[str, Any]) -> set[str]:
    """Return the error codes that operations list."""
    return {
        code
        for path in built["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for code in response.get("content", {}).get(problems.CONTENT_TYPE, {}).get("examples", {})
    }


def _needs(app: FastAPI) -> Iterator[tuple[str, str, list[dict[str, list[str]]]]]:
    """Yield path, method and security of each operation that needs a credential."""
    for each in iter_route_contexts(app.routes):
        route = each.original_route
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        scope = scope_of(route.endpoint)
        if scope is None:
            continue
        scopes = [scope.value] if isinstance(scope, Scope) else []
        security: list[dict[str, list[str]]] = [{"bearer": scopes}, {"apiKey": scopes}]
        if takes_link(route.endpoint):
            security.append({"link": []})
        if is_for_public_too(route.endpoint):
            # An empty requirement: a public image needs none.
            security.append({})
        yield from ((route.path_format, method.lower(), security) for method in route.methods or ())


def _described(app: FastAPI) -> Iterator[object]:
    """Yield the descriptions that the routes add to FastAPI's."""
    for each in iter_route_contexts(app.routes):
        if isinstance(each.original_route, APIRoute):
            yield each.responses
            yield each.openapi_extra


def _add_components(built: dict[str, Any], described: list[object]) -> None:
    components = built["components"]
    for each in gather(described):
        components.setdefault(each.kind, {})[each.name] = each.component
    # FastAPI lists schemas that no operation uses.
    used = set(_targets(built))
    for kind, named in components.items():
        if kind == "securitySchemes":
            continue
        components[kind] = {name: named[name] for name in sorted(named) if f"{kind}/{name}" in used}


def _targets(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(target := node.get("$ref"), str):
            yield target.removeprefix(_REFERENCE)
        for inner in node.values():
            yield from _targets(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _targets(inner)
