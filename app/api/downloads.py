"""`GET` and `HEAD /images/{id}`: download an image, or a range of its bytes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from app import errors
from app.access.scopes import Scope
from app.api import conditions, digests, image_headers
from app.api.direct import answered_directly
from app.api.guard import principal_in, requires
from app.api.headers import ResponseHeader
from app.api.images import ImageId  # noqa: TC001 - FastAPI reads the annotations
from app.api.openapi.answers import BINARY, FINDING, answers, success, without_content
from app.api.openapi.components import read
from app.api.state import Gateway, State  # noqa: TC001 - FastAPI reads the annotations
from app.api.streamed import StreamedBytes
from app.client import client_in
from app.delivery.chunks import PIECE_BYTES
from app.imaging.formats import STORED
from app.records.views import digest_field

if TYPE_CHECKING:
    from app.api.conditions import Slice
    from app.api.settings import Embedding
    from app.delivery.stored_image import StoredImage

router = APIRouter(tags=["images"])

CONTENT_RANGE = ResponseHeader(
    "Content-Range", "Place of the bytes in the image, and its size.", "bytes 0-99/45013"
)
# Generators of client code use the first entry: bytes, whatever the format.
_CONTENT = {
    content_type: {"schema": BINARY}
    for content_type in ("application/octet-stream", *(each.content_type for each in STORED))
}
_NOT_MODIFIED = success(
    "The client has the image: `If-None-Match` names its entity tag.",
    image_headers.ETAG,
    image_headers.CACHING,
    image_headers.SANDBOX,
)


@router.get(
    "/images/{image_id:image_id}",
    operation_id="downloadImage",
    summary="Download an image",
    response_class=Response,
    openapi_extra={
        "parameters": read(
            conditions.RANGE,
            conditions.IF_RANGE,
            conditions.IF_MATCH,
            conditions.IF_NONE_MATCH,
            digests.WANT_REPR_DIGEST,
            digests.WANT_CONTENT_DIGEST,
        )
    },
    responses=answers(
        {
            200: success(
                "The image.",
                *image_headers.OF_DOWNLOADS,
                digests.CONTENT_DIGEST,
                content=_CONTENT,
            ),
            206: success(
                "The requested range.",
                *image_headers.OF_DOWNLOADS,
                CONTENT_RANGE,
                digests.CONTENT_DIGEST,
                content=_CONTENT,
            ),
            304: _NOT_MODIFIED,
        },
        *FINDING,
        errors.LinkExpiredError,
        errors.KeyUnavailableError,
        # Of unpacking an image that is stored packed.
        errors.ShareExceededError,
        errors.OverloadedError,
        errors.UnpackError,
        errors.ImageGoneError,
        errors.PreconditionFailedError,
        errors.RangeNotSatisfiableError,
    ),
)
@answered_directly
@requires(Scope.READ, or_public=True, or_link=True)
async def download_image(image_id: ImageId, request: Request, gateway: Gateway) -> Response:
    """Stream the bytes of an image, or a range of them."""
    image = await gateway.finder.find(image_id, principal_in(request.scope))
    etag = image_headers.etag(image.info.digest)
    if conditions.is_unmodified(request.headers, etag):
        return _not_modified(image, gateway.sites.embedding)
    length = image.info.content_length
    part = conditions.slice_of(request.headers, etag, length)
    headers = image_headers.of_download(
        image_id, image, part.end - part.start, gateway.sites.embedding
    )
    if part.partial:
        headers[CONTENT_RANGE.name] = f"bytes {part.start}-{part.end - 1}/{length}"
    headers |= await _digests(request, gateway, image, part)
    client, status = client_in(request.scope), 206 if part.partial else 200
    if part.end - part.start <= PIECE_BYTES:
        # A stream would only add tasks that wait for the client to leave.
        body = await gateway.delivery.read(image, part.start, part.end, client)
        return Response(body, status, headers)
    stream = await gateway.delivery.open(image, part.start, part.end, client)
    return StreamedBytes(stream, status, headers)


@router.head(
    "/images/{image_id:image_id}",
    operation_id="headImage",
    summary="Get the headers of an image",
    response_class=Response,
    openapi_extra={
        "parameters": read(conditions.IF_MATCH, conditions.IF_NONE_MATCH, digests.WANT_REPR_DIGEST)
    },
    responses=without_content(
        answers(
            {
                200: success("The headers of a download.", *image_headers.OF_DOWNLOADS),
                304: _NOT_MODIFIED,
            },
            *FINDING,
            errors.LinkExpiredError,
            errors.KeyUnavailableError,
            errors.ImageGoneError,
            errors.PreconditionFailedError,
        )
    ),
)
@answered_directly
@requires(Scope.READ, or_public=True, or_link=True)
async def head_image(image_id: ImageId, request: Request, gateway: Gateway) -> Response:
    """Answer as a download would, without the bytes."""
    image = await gateway.finder.find(image_id, principal_in(request.scope))
    if conditions.is_unmodified(request.headers, image_headers.etag(image.info.digest)):
        return _not_modified(image, gateway.sites.embedding)
    headers = image_headers.of_download(
        image_id, image, image.info.content_length, gateway.sites.embedding
    )
    headers |= await _digests(request, gateway, image)
    return Response(headers=headers)


async def _digests(
    request: Request, gateway: State, image: StoredImage, part: Slice | None = None
) -> dict[str, str]:
    """Return the digests of an image that a client wants, and of the part that it is sent."""
    found, client = {}, client_in(request.scope)
    length = image.info.content_length
    if (algorithm := digests.wanted_of_image(request.headers)) == digests.SHA_256:
        found[image_headers.REPR_DIGEST.name] = digest_field(image.info.digest)
    elif algorithm is not None:
        new = partial(digests.new, algorithm)
        digest = await gateway.digests.of(image, new, 0, length, client)
        found[image_headers.REPR_DIGEST.name] = digests.field_of(algorithm, digest)
    algorithm = digests.wanted_of_content(request.headers)
    if part is not None and algorithm is not None:
        new = partial(digests.new, algorithm)
        digest = await gateway.digests.of(image, new, part.start, part.end, client)
        found[digests.CONTENT_DIGEST.name] = digests.field_of(algorithm, digest)
    return found


def _not_modified(image: StoredImage, embedding: Embedding) -> Response:
    return Response(status_code=304, headers=image_headers.of_unmodified(image, embedding))
