"""Answers of an operation: statuses, and for each its headers, bodies and error codes.

Hides how errors become responses of the document. An operation names the classes of its errors;
status, code, title, headers and an example of the problem are those of the class, so that they
cannot differ from the answers.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app import errors
from app.api import examples, headers, problems
from app.api.headers import ResponseHeader
from app.api.openapi.components import Reference, example, sent
from app.api.openapi.enumerations import ERROR_CODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.errors import GatewayError

# As FastAPI expects them.
Responses = dict[int | str, dict[str, Any]]

BINARY = {"type": "string", "format": "binary"}
# Errors of finding an image by its address: download, describe and delete begin with it.
FINDING = (
    errors.ImageNotFoundError,
    errors.NotReadyError,
    errors.LogUnavailableError,
    errors.RecordDamagedError,
    errors.CatalogDamagedError,
    errors.NewerVersionError,
)
# Of every operation but the probes.
DENIALS = (
    errors.RateLimitedError,
    errors.CredentialRequiredError,
    errors.InvalidCredentialError,
    errors.InsufficientScopeError,
    errors.InvalidLinkError,
    errors.IssuerUnavailableError,
)
WRITING = (errors.CrossSiteError, errors.NotWrittenError, errors.OutcomeUnknownError)

_LIMITS = (headers.RATE_LIMIT_POLICY, headers.RATE_LIMIT)
_EVERYWHERE = (headers.REQUEST_ID, headers.NO_SNIFFING, *_LIMITS, *headers.OF_SITES)
# Headers of errors (see `GatewayError.headers`): their description, and a variant where the header
# of a success has the same name.
_OF_ERRORS = {
    "Retry-After": ("Seconds to wait before the next try.", ""),
    "Accept": ("Content types that are accepted instead.", ""),
    "Accept-Encoding": ("Content codings that are accepted instead.", ""),
    "Content-Range": ("Size of the image.", "Size"),
    "WWW-Authenticate": ("How to authenticate (RFC 6750).", ""),
}
# Answers to a path or a method that no operation has.
_FRAMEWORK = {
    "not-found": (HTTPStatus.NOT_FOUND, "GET /nothing: Not Found."),
    "method-not-allowed": (HTTPStatus.METHOD_NOT_ALLOWED, "PUT /images: Method Not Allowed."),
}


PROBLEM = Reference("schemas", "Problem", problems.Problem.model_json_schema())
PROBLEM.component["properties"]["code"] = ERROR_CODE


def answers(
    successes: Responses,
    *kinds: type[GatewayError],
    any_host: bool = False,
    problem: Reference = PROBLEM,
) -> Responses:
    """Return these responses, those for errors of these kinds, and those of every operation.

    Args:
        successes: Responses that are no problems.
        kinds: Errors of this operation.
        any_host: Whether it is answered under any host name, and to everyone.
        problem: The schema of the errors' problems.
    """
    by_status: dict[int, list[type[GatewayError]]] = defaultdict(list)
    every: list[type[GatewayError]] = [
        errors.BadRequestError,
        errors.TargetTooLongError,
        errors.HeadersTooLargeError,
        *kinds,
        errors.InternalError,
    ]
    if not any_host:
        every += [*DENIALS, errors.MisdirectedRequestError]
    for leaf in (leaf for kind in every for leaf in _leaves(kind)):
        by_status[leaf.status].append(leaf)
    failures: Responses = {
        status: _failure(by_status[status], problem) for status in sorted(by_status)
    }
    return {**successes, **failures, "default": _default(problem)}


def success(
    description: str,
    *own: ResponseHeader,
    content: dict[str, Any] | None = None,
    links: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a response that is no problem, with these headers beside those of every answer."""
    response = {"description": description, "headers": sent(*own, *_EVERYWHERE)}
    more = {"content": content, "links": links}
    return response | {name: value for name, value in more.items() if value}


def json_content(examples: dict[str, Reference]) -> dict[str, Any]:
    """Return the content of a response whose schema FastAPI derives."""
    return {"application/json": {"examples": examples}}


def without_content(responses: Responses) -> Responses:
    """Return the answers to a HEAD, which has no body, whatever its status."""
    return {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }


def _failure(kinds: list[type[GatewayError]], problem: Reference) -> dict[str, Any]:
    own = {name: value for each in kinds for name, value in each.headers.items()}
    meanings = [f"`{each.code}`: {_meaning(each)}" for each in kinds]
    bodies = {
        each.code: problems.body_of(each, _meaning(each), examples.REQUEST_ID) for each in kinds
    }
    return {
        "description": meanings[0] if len(meanings) == 1 else "\n".join(f"- {m}" for m in meanings),
        "headers": sent(
            headers.NO_STORE,
            *_EVERYWHERE,
            *(
                _header_of_error(name, value, always=all(name in each.headers for each in kinds))
                for name, value in own.items()
            ),
        ),
        "content": _problems(bodies.values(), problem),
    }


def _default(problem: Reference) -> dict[str, Any]:
    bodies = (
        problems.body_of_status(status, detail, examples.REQUEST_ID)
        for status, detail in _FRAMEWORK.values()
    )
    return {
        "description": "Any other problem. A path that does not exist is `not-found`, a method that"
        " a path does not have is `method-not-allowed`.",
        "headers": sent(headers.NO_STORE, *_EVERYWHERE, headers.ALLOW),
        "content": _problems(bodies, problem),
    }


def _header_of_error(name: str, value: str, *, always: bool) -> ResponseHeader:
    description, variant = _OF_ERRORS[name]
    if always:
        return ResponseHeader(name, description, value, variant)
    return ResponseHeader(name, description, value, f"{variant}If-Due", required=False)


def _problems(bodies: Iterable[dict[str, Any]], schema: Reference) -> dict[str, Any]:
    """Return the content of a response that is one of these problems."""
    named = {
        code: reference
        for body in bodies
        for code, reference in example(body["code"], body["title"], body).items()
    }
    return {problems.CONTENT_TYPE: {"schema": schema, "examples": named}}


def _leaves(error: type[GatewayError]) -> list[type[GatewayError]]:
    """Return the errors below one, or itself: those that are raised."""
    below = [leaf for child in error.__subclasses__() for leaf in _leaves(child)]
    return below or [error]


def _meaning(error: type[GatewayError]) -> str:
    """Return the meaning of an error in a sentence: the first line of its docstring."""
    return (inspect.getdoc(error) or error.title).partition("\n")[0]
