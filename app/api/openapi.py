"""The parts of the OpenAPI document that FastAPI cannot derive.

Hides what generators of client code need: a binary schema that none of them takes for a string,
`application/octet-stream` first among the types of a download, every error as `Problem`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from app import __version__, problems
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from fastapi import FastAPI

_BINARY = {"type": "string", "format": "binary"}
_PROBLEM = {
    "description": "A problem (RFC 9457); `code` says which.",
    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

ERRORS: dict[int | str, dict[str, Any]] = {"default": _PROBLEM}


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


_ETAG = {"ETag": _header("Strong entity tag: the image's digest.", '"2c26b46b68ffc68f"')}
_DIGEST = {"Repr-Digest": _header("SHA-256 of the image (RFC 9530).", "sha-256=:LCa0a2j/xo8=:")}

UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": _BINARY | {"description": "The image."},
                        "profile": {"type": "string", "enum": ["balanced"]},
                        "metadata": {"type": "string", "enum": ["strip"]},
                    },
                }
            },
            "application/octet-stream": {"schema": _BINARY},
            "image/*": {"schema": _BINARY},
        },
    }
}

UPLOAD_RESPONSES: dict[int | str, dict[str, Any]] = ERRORS | {
    201: {
        "description": "The image is stored.",
        "headers": {"Location": _header("Path of the image.", "/images/aaaqaaaa")}
        | _ETAG
        | _DIGEST,
    }
}

_IMAGE_CONTENT = {
    media_type: {"schema": _BINARY}
    for media_type in ("application/octet-stream", *(each.media_type for each in ImageFormat))
}
_IMAGE_HEADERS = {
    "Content-Disposition": _header("A file name.", 'inline; filename="img.jpg"'),
    "Cache-Control": _header("Images never change.", "public, max-age=31536000, immutable"),
    "Accept-Ranges": _header("Ranges are served.", "bytes"),
}

HEAD_RESPONSES: dict[int | str, dict[str, Any]] = ERRORS | {
    200: {"description": "The headers.", "headers": _ETAG | _DIGEST | _IMAGE_HEADERS},
    304: {"description": "The client has it: `If-None-Match` names its entity tag."},
}

DOWNLOAD_RESPONSES: dict[int | str, dict[str, Any]] = HEAD_RESPONSES | {
    200: {
        "description": "The image.",
        "content": _IMAGE_CONTENT,
        "headers": _ETAG | _DIGEST | _IMAGE_HEADERS,
    },
    206: {
        "description": "The range that was asked for.",
        "content": _IMAGE_CONTENT,
        "headers": _ETAG
        | _DIGEST
        | _IMAGE_HEADERS
        | {"Content-Range": _header("Which bytes.", "bytes 0-99/1204881")},
    },
}

STREAM_RESPONSES: dict[int | str, dict[str, Any]] = ERRORS | {
    200: {
        "description": "Server-sent events, without end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

WATCH_RESPONSES: dict[int | str, dict[str, Any]] = ERRORS | {
    200: {
        "description": "JPEGs, without end, each in place of the one before.",
        "content": {"multipart/x-mixed-replace": {"schema": _BINARY}},
    }
}


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
    )
    schemas = built["components"]["schemas"]
    schemas["Problem"] = problems.Problem.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    # Invalid parameters are problems too: FastAPI's own error schemas are never answered.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in built["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    return built
