"""`POST /images`: upload an image."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from app import errors
from app.access.scopes import Scope
from app.api import examples, image_headers, schemas
from app.api.body import RequestBody
from app.api.guard import requires
from app.api.headers import ResponseHeader
from app.api.openapi.answers import BINARY, WRITING, answers, json_content, success
from app.api.openapi.components import Reference, example
from app.api.openapi.enumerations import METADATA, PROFILE, VISIBILITY, in_form
from app.api.state import Gateway  # noqa: TC001 - FastAPI reads the annotations
from app.imaging.formats import ImageFormat
from app.ingest.settings import MOST_SECONDS

router = APIRouter(tags=["images"])

LOCATION = ResponseHeader("Location", "Path of the image.", examples.IMAGE_PATH)
*_MOST, _LAST = (each.label for each in ImageFormat)
_FORM = {
    "type": "object",
    "description": "An image, and how to treat it.",
    "required": ["file"],
    "properties": {
        "file": BINARY | {"description": f"The image: {', '.join(_MOST)} or {_LAST}."},
        "profile": in_form(PROFILE) | {"examples": [examples.PROFILE]},
        "metadata": in_form(METADATA) | {"examples": ["strip"]},
        "visibility": in_form(VISIBILITY) | {"examples": ["owner"]},
        "expires_in": {
            "type": "integer",
            "format": "int64",
            "minimum": 1,
            "maximum": MOST_SECONDS,
            "description": "How long the image is kept, in seconds: then it is gone, a 410. A"
            " server may have a default, otherwise for ever, and a maximum.",
            "examples": [86_400],
        },
    },
}
_BYTES = BINARY | {"description": "The bytes of the image, and nothing else."}
_DEFAULTS = {"file": examples.GIF, "profile": examples.PROFILE, "metadata": "strip"}
_RAW = {"schema": _BYTES, "examples": example("bytes", "A GIF of one pixel", examples.GIF)}
_REQUEST: dict[str, Any] = {
    "requestBody": {
        "description": "The image, as a form or as its bytes.",
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": Reference("schemas", "UploadForm", _FORM),
                "examples": example("form", "One pixel, and the defaults by name", _DEFAULTS),
            },
            "application/octet-stream": _RAW,
            "image/*": _RAW,
        },
    }
}


@router.post(
    "/images",
    status_code=201,
    response_model=schemas.Image,
    operation_id="uploadImage",
    summary="Store an image",
    openapi_extra=_REQUEST,
    responses=answers(
        {
            201: success(
                "The image is stored.",
                LOCATION,
                image_headers.ETAG,
                image_headers.REPR_DIGEST,
                content=json_content(schemas.EXAMPLE),
                links=schemas.LINKS,
            )
        },
        errors.RequestTimeoutError,
        errors.LinkExpiredError,
        errors.LinkUsedError,
        errors.BodyTooLargeError,
        errors.UnsupportedMediaTypeError,
        errors.UnsupportedFormatError,
        errors.InvalidParameterError,
        errors.MissingFileError,
        errors.TooManyFilesError,
        errors.ImageRefusedError,
        errors.QuotaExceededError,
        errors.ShareExceededError,
        errors.NotReadyError,
        errors.CatalogDamagedError,
        errors.OverloadedError,
        *WRITING,
        errors.KeyUnavailableError,
    ),
)
@requires(Scope.WRITE, or_link=True)
async def upload_image(request: Request, response: Response, gateway: Gateway) -> schemas.Image:
    """Validate, compress and store an image; it is durable when the answer arrives.

    Send `multipart/form-data` with a part named `file`, or the bytes of the image as the body. The
    bytes decide the format, not a name or a declared type; animations are accepted.
    Metadata is removed and the colour profile kept. The orientation is applied; where encoding
    again would save nothing, pixels and orientation tag stay as they are.
    """
    body = RequestBody(request, gateway.pace, gateway.upload, gateway.imaging, gateway.rule)
    stored = await gateway.ingest.store(body)
    response.headers[LOCATION.name] = schemas.path_of(stored.image_id)
    response.headers.update(image_headers.of_upload(stored.info.digest))
    if stored.listed is not None:
        return schemas.listed(stored.listed)
    return schemas.described(stored.image_id, stored.info)
