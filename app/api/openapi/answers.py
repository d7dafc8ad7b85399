"""What each operation answers: its statuses, and under each the headers, bodies and error codes.

Hides how errors become responses of the document. An operation names the classes of its errors;
status, code, title and an example of the problem are those of the class, so that they cannot
differ from what is answered.
"""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.sse import format_sse_event

from app import errors
from app.api import problems
from app.api.openapi import examples, headers
from app.api.openapi.headers import sent
from app.imaging.formats import STORED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.errors import GatewayError

# As FastAPI takes them.
Responses = dict[int | str, dict[str, Any]]

BINARY = {"type": "string", "format": "binary"}
_EVERYWHERE = (headers.REQUEST_ID, headers.NO_SNIFFING)
_WHERE_INVALID = (headers.REQUEST_ID_IF_VALID, headers.NO_SNIFFING_IF_VALID)
# What no operation answers, as it is no operation's path or method.
_FRAMEWORK = {
    "not-found": (HTTPStatus.NOT_FOUND, "GET /nothing: Not Found."),
    "method-not-allowed": (HTTPStatus.METHOD_NOT_ALLOWED, "PUT /images: Method Not Allowed."),
}


def _success(
    description: str, *own: headers.ResponseHeader, content: dict[str, Any] | None = None
) -> dict[str, Any]:
    response = {"description": description, "headers": sent(*own, *_EVERYWHERE)}
    return response | {"content": content} if content else response


def _json(example: str) -> dict[str, Any]:
    """Return the content of a response whose schema FastAPI derives."""
    return {"application/json": {"examples": _references(example)}}


def _answers(successes: Responses, *kinds: type[GatewayError]) -> Responses:
    """Return these responses, those for errors of these kinds, and those of every operation."""
    by_status: dict[int, list[type[GatewayError]]] = defaultdict(list)
    every: list[type[GatewayError]] = [errors.BadRequestError, *kinds, errors.InternalError]
    for leaf in (leaf for kind in every for leaf in _leaves(kind)):
        by_status[leaf.status].append(leaf)
    failures: Responses = {
        status: _of_status(status, by_status[status]) for status in sorted(by_status)
    }
    return {**successes, **failures, "default": _DEFAULT}


def _of_status(status: int, kinds: list[type[GatewayError]]) -> dict[str, Any]:
    invalid = status == errors.BadRequestError.status
    own = [headers.NO_STORE, *(_WHERE_INVALID if invalid else _EVERYWHERE)]
    names = dict.fromkeys(name for each in kinds for name in each.headers)
    own += [headers.OF_ERRORS[name] for name in names]
    meanings = [f"`{each.code}`: {_meaning(each)}" for each in kinds]
    return {
        "description": meanings[0] if len(meanings) == 1 else "\n".join(f"- {m}" for m in meanings),
        "headers": sent(*own),
        "content": _problems(each.code for each in kinds),
    }


def _problems(codes: Iterable[str]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {problems.MEDIA_TYPE: {"schema": schema, "examples": _references(*codes)}}


def _references(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/examples/{name}"} for name in names}


def _without_content(responses: Responses) -> Responses:
    """Return the answers to a HEAD, which has no body, whatever its status."""
    return {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }


def _leaves(error: type[GatewayError]) -> list[type[GatewayError]]:
    """Return the errors below one, or itself: those that are raised."""
    below = [leaf for child in error.__subclasses__() for leaf in _leaves(child)]
    return below or [error]


def _meaning(error: type[GatewayError]) -> str:
    """Return what an error means, in a sentence: the first line of its docstring."""
    return (inspect.getdoc(error) or error.title).partition("\n")[0]


def components() -> dict[str, Any]:
    """Return the examples that responses refer to."""
    kinds = {each.code: each for each in _leaves(errors.GatewayError)}
    found = {
        code: {
            "summary": kind.title,
            "value": problems.body_of(kind, _meaning(kind), examples.REQUEST_ID),
        }
        for code, kind in kinds.items()
    }
    for code, (status, detail) in _FRAMEWORK.items():
        problem = problems.body_of_status(status, detail, examples.REQUEST_ID)
        found[code] = {"summary": status.phrase, "value": problem}
    return found | {
        "image": {"summary": "A JPEG", "value": examples.IMAGE},
        "page": {"summary": "A page that is not the last", "value": examples.IMAGE_PAGE},
        "events": {"summary": "Two events", "value": _EVENTS},
        "picture": {"summary": "The head of a part", "value": _PART},
        "ok": {"summary": "All is well", "value": {"status": "ok"}},
    }


_EVENTS = b"".join(
    (
        format_sse_event(comment="connected", retry=2000),
        format_sse_event(
            data_str=json.dumps(examples.IMAGE, separators=(",", ":")),
            event="image.stored",
            id=str(examples.SEQUENCE),
        ),
        format_sse_event(
            data_str=json.dumps({"id": examples.IMAGE_ID}),
            event="image.deleted",
            id=str(examples.SEQUENCE + 1),
        ),
    )
).decode()
_PART = (
    "--imagegate-picture\r\nContent-Type: image/jpeg\r\n"
    f"Content-Length: {examples.CONTENT_LENGTH}\r\nContent-Location: {examples.IMAGE_PATH}\r\n\r\n"
)

_DEFAULT = {
    "description": "Any other problem. A path that does not exist is `not-found`, a method that a"
    " path does not have is `method-not-allowed`.",
    "headers": sent(headers.NO_STORE, *_WHERE_INVALID, headers.ALLOW),
    "content": _problems(_FRAMEWORK),
}

# Finding an image by its address, which download, describe and delete begin with.
_FIND = (
    errors.ImageNotFoundError,
    errors.NotReadyError,
    errors.LogUnavailableError,
    errors.RecordDamagedError,
    errors.CatalogDamagedError,
    errors.NewerVersionError,
)
_WRITE = (errors.NotWrittenError, errors.OutcomeUnknownError)
_IMAGE_HEADERS = (
    headers.ETAG,
    headers.REPR_DIGEST,
    headers.IMMUTABLE,
    headers.ACCEPT_RANGES,
    headers.CONTENT_LENGTH,
    headers.CONTENT_DISPOSITION,
)
# Generators take the first: bytes, whatever image they are.
_IMAGE_CONTENT = {
    content_type: {"schema": BINARY}
    for content_type in ("application/octet-stream", *(each.content_type for each in STORED))
}
_NOT_MODIFIED = _success(
    "The client has it: `If-None-Match` names its entity tag.", headers.ETAG, headers.IMMUTABLE
)

UPLOAD = _answers(
    {
        201: _success(
            "The image is stored.",
            headers.LOCATION,
            headers.ETAG,
            headers.REPR_DIGEST,
            content=_json("image"),
        )
    },
    errors.RequestTimeoutError,
    errors.BodyTooLargeError,
    errors.UnsupportedMediaTypeError,
    errors.UnsupportedFormatError,
    errors.InvalidParameterError,
    errors.MissingFileError,
    errors.TooManyFilesError,
    errors.ImageRefusedError,
    errors.NotReadyError,
    errors.OverloadedError,
    *_WRITE,
)
LIST = _answers(
    {200: _success("A page.", headers.LINK, content=_json("page"))},
    errors.InvalidParameterError,
    errors.NotReadyError,
    errors.CatalogDamagedError,
)
# Unpacking, where it is packed in the log.
_UNPACK = (errors.OverloadedError, errors.UnpackError)
DOWNLOAD = _answers(
    {
        200: _success("The image.", *_IMAGE_HEADERS, content=_IMAGE_CONTENT),
        206: _success(
            "The range that was asked for.",
            *_IMAGE_HEADERS,
            headers.CONTENT_RANGE,
            content=_IMAGE_CONTENT,
        ),
        304: _NOT_MODIFIED,
    },
    *_FIND,
    *_UNPACK,
    errors.ImageGoneError,
    errors.PreconditionFailedError,
    errors.RangeNotSatisfiableError,
)
HEAD = _without_content(
    _answers(
        {200: _success("The headers of a download.", *_IMAGE_HEADERS), 304: _NOT_MODIFIED},
        *_FIND,
        errors.ImageGoneError,
        errors.PreconditionFailedError,
    )
)
DESCRIBE = _answers(
    {200: _success("The image.", content=_json("image"))}, *_FIND, errors.ImageGoneError
)
DELETE = _answers({204: _success("The image is deleted.")}, *_FIND, *_WRITE)
STREAM = _answers(
    {
        200: _success(
            "Server-sent events, without end.",
            headers.NO_STORE,
            headers.UNBUFFERED,
            content={
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "examples": _references("events"),
                }
            },
        )
    },
    errors.InvalidParameterError,
    errors.NotReadyError,
)
WATCH = _answers(
    {
        200: _success(
            "JPEGs, without end, each in place of the one before.",
            headers.NO_STORE,
            headers.UNBUFFERED,
            content={
                "multipart/x-mixed-replace": {
                    "schema": BINARY,
                    "examples": _references("picture"),
                }
            },
        )
    },
    errors.InvalidParameterError,
    errors.NotReadyError,
)
LIVENESS = _answers({200: _success("It is alive.", content=_json("ok"))})
READINESS = _answers(
    {200: _success("It should get requests.", content=_json("ok"))}, errors.NotReadyError
)
