"""`POST /images`: upload an image."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from app import errors
from app.access.scopes import Scope
from app.api import digests, examples, image_headers, schemas
from app.api.answer import answer
from app.api.body import RequestBody
from app.api.direct import answered_directly
from app.api.guard import requires
from app.api.headers import NO_STORE, ResponseHeader
from app.api.idempotency import IDEMPOTENCY_KEY, REPLAYED
from app.api.openapi.answers import BINARY, WRITING, answers, json_content, success
from app.api.openapi.components import Reference, example, read
from app.api.openapi.enumerations import METADATA, PROFILE, VISIBILITY, in_form
from app.api.options import Dedupe
from app.api.state import Gateway  # noqa: TC001 - FastAPI reads the annotations
from app.imaging.formats import ImageFormat
from app.imaging.names import MAX_SOURCE_CHARACTERS
from app.ingest.settings import MOST_SECONDS
from app.records.views import digest_field

router = APIRouter(tags=["images"])

LOCATION = ResponseHeader("Location", "Path of the image.", examples.IMAGE_PATH)
*_MOST, _LAST = (each.label for each in ImageFormat)
OPTIONS: dict[str, dict[str, Any]] = {
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
    "source": {
        "type": "string",
        "maxLength": MAX_SOURCE_CHARACTERS,
        "description": "The camera or device that the image is from, for lists and streams to"
        " filter by: up to 64 characters, without control characters.",
        "examples": [examples.SOURCE],
    },
    "dedupe": {
        "type": "string",
        "enum": [each.value for each in Dedupe],
        "description": "`exact`: the same upload again, with the same name and options by the"
        " same client, is not stored; the answer is a 200 with the image that is there."
        " `none`, the default: it is stored again.",
        "examples": ["exact"],
    },
}
_FORM = {
    "type": "object",
    "description": "An image, and how to treat it.",
    "required": ["file"],
    "properties": {
        "file": BINARY | {"description": f"The image: {', '.join(_MOST)} or {_LAST}."},
        **OPTIONS,
    },
}
_BYTES = BINARY | {"description": "The bytes of the image, and nothing else."}
_DEFAULTS = {"file": examples.GIF, "profile": examples.PROFILE, "metadata": "strip"}
_RAW = {"schema": _BYTES, "examples": example("bytes", "A GIF of one pixel", examples.GIF)}
_REQUEST: dict[str, Any] = {
    "parameters": read(IDEMPOTENCY_KEY),
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
    },
}


_REPEATED = "The image was there: the same upload came before, and this one has `dedupe=exact`."


def _answered(description: str) -> dict[str, Any]:
    return success(
        description,
        LOCATION,
        NO_STORE,
        image_headers.ETAG,
        digests.CONTENT_DIGEST,
        image_headers.REPR_DIGEST,
        REPLAYED,
        content=json_content(schemas.EXAMPLE),
        links=schemas.LINKS,
    )


@router.post(
    "/images",
    status_code=201,
    response_model=schemas.Image,
    operation_id="uploadImage",
    summary="Store an image",
    openapi_extra=_REQUEST
    | {
        "parameters": read(
            digests.GIVEN_CONTENT_DIGEST,
            digests.GIVEN_REPR_DIGEST,
            digests.WANT_CONTENT_DIGEST,
            digests.WANT_REPR_DIGEST,
            IDEMPOTENCY_KEY,
        )
    },
    responses=answers(
        {
            200: _answered(_REPEATED) | {"model": schemas.Image},
            201: _answered("The image is stored."),
        },
        errors.IncompleteBodyError,
        errors.RequestTimeoutError,
        errors.LinkExpiredError,
        errors.LinkUsedError,
        errors.InvalidIdempotencyKeyError,
        errors.IdempotencyKeyInUseError,
        errors.IdempotencyKeyReusedError,
        errors.ImageGoneError,
        errors.BodyTooLargeError,
        errors.UnsupportedMediaTypeError,
        errors.UnsupportedEncodingError,
        errors.UnsupportedFormatError,
        errors.InvalidDigestError,
        errors.UploadAlteredError,
        errors.EmptyBodyError,
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
@answered_directly
@requires(Scope.WRITE, or_link=True)
async def upload_image(request: Request, gateway: Gateway) -> Response:
    """Validate, compress and store an image; it is durable when the answer arrives.

    Send `multipart/form-data` with a part named `file`, or the bytes of the image as the body. The
    bytes decide the format, not a name or a declared type; animations are accepted.
    Metadata is removed and the colour profile kept. The orientation is applied; where encoding
    again would save nothing, pixels and orientation tag stay as they are.

    With an `Idempotency-Key` it is stored once, however often it is sent: see the header.
    """
    body = RequestBody(request, gateway.pace, gateway.upload, gateway.imaging, gateway.rule)
    stored = await gateway.ingest.store(body)
    headers = {
        LOCATION.name: schemas.path_of(stored.image_id),
        NO_STORE.name: NO_STORE.value,
        image_headers.ETAG.name: image_headers.etag(stored.info.digest),
    }
    if digests.wanted_of_image(request.headers) is not None:
        # Whichever was wanted: the log has this one, and knows no other.
        headers[image_headers.REPR_DIGEST.name] = digest_field(stored.info.digest)
    if stored.is_replayed:
        headers[REPLAYED.name] = REPLAYED.value
    status = HTTPStatus.CREATED if stored.is_new else HTTPStatus.OK
    return answer(request, schemas.stored(stored), headers, status)
