"""The check that an answer agrees with the OpenAPI document.

The clients of `in_process.py` and `gateway_process.py` apply it to each answer that a test gets.
"""

import re
from http.client import NOT_MODIFIED

from app.errors import (
    ConfigurationError,
    DigestMismatchError,
    GatewayError,
    HeavyImageError,
    RecordGoneError,
    RecordMissingError,
    TurnLostError,
)
from app.main import create_app
from app.settings import Settings

INTERNAL = {
    ConfigurationError,
    DigestMismatchError,
    HeavyImageError,
    RecordGoneError,
    RecordMissingError,
    TurnLostError,
}
DOCUMENT = create_app(Settings.model_construct()).openapi()
METHODS = {"get", "put", "post", "delete", "head", "patch", "options", "trace"}
# Headers that the server adds to every answer, and those that frame a body.
_FRAMING = {"connection", "content-length", "content-type", "date", "transfer-encoding"}
_PROBLEM = "application/problem+json"


def resolve(node):
    """Return the target of a reference, or the node itself."""
    while "$ref" in node:
        found = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def operation_of(method, path):
    """Return the operation that a request is for; None where the path is in no operation."""
    for template, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            if method in ("HEAD", "OPTIONS"):
                return item.get(method.lower(), item.get("get") if method == "HEAD" else None)
            return item.get(method.lower(), {"responses": _without_operation(item)})
    return None


def _without_operation(item):
    responses = next(iter(item.values()))["responses"]
    denials = {status: responses[status] for status in ("401", "403") if status in responses}
    return denials | {"405": responses["default"]}


def check(response):
    """Check status, headers, content type and error code; the body of a problem has been read."""
    operation = operation_of(response.request.method, response.request.url.path)
    # A preflight is between browser and server.
    if operation is None or "access-control-request-method" in response.request.headers:
        return
    # Of JSON: listed, it would be a third result of each call of a generated client.
    if response.status_code == NOT_MODIFIED and "304" not in operation["responses"]:
        return
    where = f"{response.request.method} {response.request.url.path} {response.status_code}"
    assert str(response.status_code) in operation["responses"], where
    described = operation["responses"][str(response.status_code)]
    declared = {name.lower(): resolve(node) for name, node in described["headers"].items()}
    sent = {name.lower() for name in response.headers}
    assert sent - _FRAMING <= set(declared), where
    assert {name for name, header in declared.items() if header["required"]} <= sent, where
    if response.request.method != "HEAD":
        _check_content(response, described.get("content", {}), where)


def _check_content(response, content, where):
    content_type = response.headers.get("content-type", "").partition(";")[0]
    assert content_type in content or not (content or content_type), (where, content_type)
    if content_type == _PROBLEM:
        assert response.json()["code"] in content[_PROBLEM]["examples"], (where, response.text)


def checked():
    """Return the event hooks of a client that checks each answer."""

    def hook(response):
        if is_problem(response):
            response.read()
        check(response)

    return {"response": [hook]}


def checked_async():
    """Return the event hooks of an asynchronous client that checks each answer."""

    async def hook(response):
        if is_problem(response):
            await response.aread()
        check(response)

    return {"response": [hook]}


def is_problem(response):
    return response.headers.get("content-type") == _PROBLEM


def tree(error=GatewayError):
    """Every class of app/errors.py below `error`."""
    return {inner for child in _below(error) for inner in {child, *tree(child)}}


def _below(error):
    """Return the direct subclasses in app/errors.py: a room may refine one for itself."""
    return [each for each in error.__subclasses__() if each.__module__ == GatewayError.__module__]


def leaves():
    """The errors that are raised: those without subclasses."""
    return {each for each in tree() if not _below(each)}


def answers():
    """The errors that a client can meet."""
    return leaves() - INTERNAL
