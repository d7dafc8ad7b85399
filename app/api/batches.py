"""`POST /images/batch`: upload many images in one form."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app import errors
from app.access.scopes import Scope
from app.api import digests, examples, problems, schemas
from app.api.batch_body import BatchBody
from app.api.guard import requires
from app.api.headers import NO_STORE
from app.api.idempotency import IDEMPOTENCY_KEY, REPLAYED
from app.api.openapi.answers import BINARY, PROBLEM, answers, json_content, success
from app.api.openapi.components import Reference, example, read
from app.api.state import Gateway  # noqa: TC001 - FastAPI reads the annotations
from app.api.uploads import OPTIONS
from app.errors import GatewayError
from app.ingest.upload import StoredUpload

if TYPE_CHECKING:
    from app.ingest.batches import Outcome, StoredBatch

router = APIRouter(tags=["images"])


class StoredImage(BaseModel):
    """An image of a batch that is stored."""

    status: int = Field(
        description="The status that the image would have got alone: 201, or 200 where `dedupe` has"
        " found it there.",
        ge=100,
        le=599,
        examples=[201],
    )
    image: schemas.Image


class RefusedImage(BaseModel):
    """An image of a batch that is not stored, or of which that is not known."""

    status: int = Field(
        description="The status that the image would have got alone: that of the problem.",
        ge=100,
        le=599,
        examples=[422],
    )
    problem: problems.Problem


def _one_of(schema: dict[str, Any]) -> None:
    # Pydantic says `anyOf`; each result is exactly one.
    schema["items"] = {"oneOf": schema["items"].pop("anyOf")}


_RESULTS = "What became of each image, in the order of the parts."


class BatchResults(BaseModel):
    """What became of the images of a batch."""

    results: list[StoredImage | RefusedImage] = Field(
        description=_RESULTS, json_schema_extra=_one_of
    )


_REFUSED = {
    "status": errors.InvalidImageError.status,
    "problem": problems.body_of(
        errors.InvalidImageError, "The image is truncated.", examples.REQUEST_ID
    ),
}
_EXAMPLE = {"results": [{"status": 201, "image": examples.IMAGE}, _REFUSED]}
_PROBLEM = PROBLEM.component
_BATCH_PROBLEM = _PROBLEM | {
    "title": "BatchProblem",
    "description": "A problem (RFC 9457) with a batch as a whole. If it broke off, `results` says"
    " what is stored of it.",
    "properties": _PROBLEM["properties"]
    | {
        "results": {
            "type": "array",
            "items": {
                "oneOf": [
                    {"$ref": "#/components/schemas/StoredImage"},
                    {"$ref": "#/components/schemas/RefusedImage"},
                ]
            },
            "description": "What became of each image whose part had begun, in the order of the"
            " parts. Missing where nothing of the form was read.",
        }
    },
}
_FORM = {
    "type": "object",
    "description": "Images. In front of the first one, fields named as the options apply to all,"
    " those in front of another to that one alone.",
    "required": ["file"],
    "properties": {
        "file": {
            # Without `minItems`, for which the generator `go` writes what does not compile.
            "type": "array",
            "items": BINARY,
            "description": "The images, one at least, each in a part of its own that is named"
            " `file`.",
        }
    },
}
_REQUEST: dict[str, Any] = {
    # In the query, as generated clients write the files of a form first.
    "parameters": [
        *read(
            digests.GIVEN_CONTENT_DIGEST,
            digests.GIVEN_REPR_DIGEST,
            digests.WANT_CONTENT_DIGEST,
            IDEMPOTENCY_KEY,
        ),
        *(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": option["description"],
                "schema": option,
            }
            for name, option in OPTIONS.items()
        ),
    ],
    "requestBody": {
        "description": "The images, as a form.",
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": Reference("schemas", "BatchForm", _FORM),
                "examples": example("batch", "Two files", {"file": ["(bytes)", "(bytes)"]}),
            }
        },
    },
}


@router.post(
    "/images/batch",
    status_code=200,
    response_model=BatchResults,
    operation_id="uploadBatch",
    summary="Store many images",
    openapi_extra=_REQUEST,
    responses=answers(
        {
            200: success(
                "The form was well-formed. Each image has a status of its own.",
                NO_STORE,
                digests.CONTENT_DIGEST,
                REPLAYED,
                content=json_content(example("results", "One stored, one refused", _EXAMPLE)),
            )
        },
        errors.IncompleteBodyError,
        errors.RequestTimeoutError,
        errors.LinkExpiredError,
        errors.LinkUsedError,
        errors.InvalidIdempotencyKeyError,
        errors.IdempotencyKeyInUseError,
        errors.BodyTooLargeError,
        errors.UnsupportedMediaTypeError,
        errors.UnsupportedEncodingError,
        errors.InvalidDigestError,
        errors.UploadAlteredError,
        errors.InvalidParameterError,
        errors.MissingFileError,
        errors.TooManyFilesError,
        errors.QuotaExceededError,
        errors.ShareExceededError,
        errors.NotReadyError,
        errors.CatalogDamagedError,
        errors.OverloadedError,
        errors.CrossSiteError,
        errors.KeyUnavailableError,
        problem=Reference("schemas", "BatchProblem", _BATCH_PROBLEM),
    ),
)
@requires(Scope.WRITE, or_link=True, link_path="/images")
async def upload_batch(request: Request, gateway: Gateway) -> Response:
    """Validate, compress and store each image of a form, as if it had been uploaded alone.

    Each part named `file` is an image. They are stored while the form arrives; one that is refused
    leaves the others as they are. Every image that is stored is durable when the answer arrives. A
    form that breaks off is a problem, whose `results` say what is stored all the same.
    """
    body = BatchBody(request, gateway.pace, gateway.upload, gateway.imaging, gateway.rule)
    return _answer(request, await gateway.batches.store(body))


def _answer(request: Request, batch: StoredBatch) -> Response:
    results = [_result(request, each) for each in batch.outcomes]
    if batch.broken is not None:
        return problems.broken_off(request, batch.broken, results=results)
    response = problems.JsonLine({"results": results}, headers={NO_STORE.name: NO_STORE.value})
    response.headers.update(digests.of_content(request.headers, bytes(response.body)))
    if any(isinstance(each, StoredUpload) and each.is_replayed for each in batch.outcomes):
        response.headers[REPLAYED.name] = REPLAYED.value
    return response


def _result(request: Request, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, GatewayError):
        problem = problems.reported(request, outcome)
        return {"status": outcome.status, "problem": problem}
    image = schemas.stored(outcome)
    status = HTTPStatus.CREATED if outcome.is_new else HTTPStatus.OK
    return {"status": status, "image": image.model_dump(mode="json")}
