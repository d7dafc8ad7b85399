"""`/images`: upload, download, list, describe, delete."""

from __future__ import annotations

import base64
import unicodedata
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from app.api import conditions, schemas
from app.api.body import RequestBody
from app.api.openapi import answers, examples, requests
from app.api.state import Gateway  # noqa: TC001 - FastAPI reads the annotations
from app.delivery.chunks import PIECE_BYTES
from app.errors import InvalidParameterError
from app.imaging.formats import ImageFormat
from app.records.image import digest_field

if TYPE_CHECKING:
    from app.delivery.find import StoredImage

router = APIRouter(tags=["images"])

# An image never changes, and while there is no authentication anyone may keep a copy.
_CACHE_CONTROL = "public, max-age=31536000, immutable"
_EXTENSIONS = {each.content_type: each.extension for each in ImageFormat}

ImageId = Annotated[
    str,
    Path(description="The image's id, as the upload returned it.", examples=[examples.IMAGE_ID]),
]


@router.post(
    "/images",
    status_code=201,
    response_model=schemas.Image,
    operation_id="uploadImage",
    summary="Store an image",
    openapi_extra=requests.UPLOAD,
    responses=answers.UPLOAD,
)
async def upload_image(request: Request, response: Response, gateway: Gateway) -> schemas.Image:
    """Validate, compress and store an image; it is durable when the answer arrives.

    Send `multipart/form-data` with a part named `file`, or the bytes of the image as the body. The
    format is told by the bytes: JPEG, PNG, WebP, GIF, AVIF, HEIC, TIFF or BMP, animations included.
    Metadata is removed, the colour profile kept, and the orientation applied, or its tag kept with
    the pixels as they came where encoding them again would save nothing.
    """
    body = RequestBody(request, gateway.pace, gateway.upload, gateway.imaging)
    stored = await gateway.ingest.store(body)
    response.headers["Location"] = schemas.path_of(stored.image_id)
    response.headers["ETag"] = _etag(stored.info.digest)
    response.headers["Repr-Digest"] = digest_field(stored.info.digest)
    if stored.listed is not None:
        return schemas.listed(stored.listed)
    return schemas.described(stored.image_id, stored.info)


@router.get(
    "/images",
    operation_id="listImages",
    summary="List images, newest first",
    responses=answers.LIST,
)
async def list_images(
    request: Request,
    response: Response,
    gateway: Gateway,
    limit: Annotated[
        int, Query(ge=1, le=1000, description="The most images in a page.", examples=[50])
    ] = 50,
    cursor: Annotated[
        str | None,
        Query(
            description="`next_cursor` of the page before.",
            max_length=64,
            examples=[examples.CURSOR],
        ),
    ] = None,
) -> schemas.ImagePage:
    """Return a page of images; the `Link` header leads to the next one."""
    gateway.feed.require_caught_up()
    images = await gateway.catalog.newest(limit + 1, _sequence(cursor) if cursor else None)
    page, more = images[:limit], len(images) > limit
    next_cursor = _cursor(page[-1].sequence) if more else None
    if next_cursor:
        target = request.url.include_query_params(cursor=next_cursor)
        response.headers["Link"] = f'<{target.path}?{target.query}>; rel="next"'
    return schemas.ImagePage(
        images=[schemas.listed(image) for image in page], next_cursor=next_cursor
    )


@router.get(
    "/images/{image_id}",
    operation_id="downloadImage",
    summary="Download an image",
    response_class=Response,
    openapi_extra=requests.DOWNLOAD,
    responses=answers.DOWNLOAD,
)
async def download_image(image_id: ImageId, request: Request, gateway: Gateway) -> Response:
    """Stream the bytes of an image, or a range of them."""
    image = await gateway.finder.find(image_id)
    headers = _headers(image_id, image)
    if conditions.is_unmodified(request.headers, headers["ETag"]):
        return _not_modified(headers)
    length = image.info.content_length
    part = conditions.slice_of(request.headers, headers["ETag"], length)
    headers["Content-Length"] = str(part.end - part.start)
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{length}"
    body = await gateway.delivery.open(image, part.start, part.end)
    status = 206 if part.partial else 200
    if part.end <= min(PIECE_BYTES, image.chunk_bytes):
        # It is all there: a stream would only add tasks that wait for the client to leave.
        return Response(b"".join([piece async for piece in body]), status, headers)
    return StreamingResponse(body, status, headers)


@router.head(
    "/images/{image_id}",
    operation_id="headImage",
    summary="Ask for an image's headers",
    response_class=Response,
    openapi_extra=requests.HEAD,
    responses=answers.HEAD,
)
async def head_image(image_id: ImageId, request: Request, gateway: Gateway) -> Response:
    """Answer as a download would, without the bytes."""
    image = await gateway.finder.find(image_id)
    headers = _headers(image_id, image)
    if conditions.is_unmodified(request.headers, headers["ETag"]):
        return _not_modified(headers)
    return Response(headers=headers | {"Content-Length": str(image.info.content_length)})


@router.get(
    "/images/{image_id}/metadata",
    operation_id="describeImage",
    summary="Describe an image",
    responses=answers.DESCRIBE,
)
async def describe_image(image_id: ImageId, gateway: Gateway) -> schemas.Image:
    """Return the JSON that the upload returned."""
    return schemas.listed(await gateway.finder.describe(image_id))


@router.delete(
    "/images/{image_id}",
    status_code=204,
    response_class=Response,
    operation_id="deleteImage",
    summary="Delete an image for ever",
    responses=answers.DELETE,
)
async def delete_image(image_id: ImageId, gateway: Gateway) -> None:
    """Hide the image at once and for ever; deleting it again changes nothing.

    The embedded log erases the bytes at once. In Kafka they stay in the topic, out of reach of this
    API, until the topic's retention removes them.
    """
    await gateway.deleter.delete(image_id)


def _headers(image_id: str, image: StoredImage) -> dict[str, str]:
    info = image.info
    return {
        "Content-Type": info.content_type,
        "ETag": _etag(info.digest),
        "Repr-Digest": digest_field(info.digest),
        "Cache-Control": _CACHE_CONTROL,
        "Accept-Ranges": "bytes",
        "Content-Disposition": content_disposition(
            info.filename, image_id, _EXTENSIONS.get(info.content_type, ".bin")
        ),
    }


def _not_modified(headers: dict[str, str]) -> Response:
    kept = ("ETag", "Cache-Control")
    return Response(status_code=304, headers={name: headers[name] for name in kept})


def content_disposition(filename: str | None, image_id: str, extension: str) -> str:
    """Return the field value (RFC 6266) for a file name with the extension of what is served."""
    named = filename or image_id
    stem = named.rpartition(".")[0] or named
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().strip()
    plain = "".join("_" if character in '"\\%;/' else character for character in plain)
    encoded = quote(f"{stem}{extension}", safe="")
    return f"inline; filename=\"{plain or image_id}{extension}\"; filename*=UTF-8''{encoded}"


def _etag(digest: str) -> str:
    return f'"{digest}"'


def _cursor(sequence: int) -> str:
    return base64.urlsafe_b64encode(b"%d" % sequence).decode().rstrip("=")


def _sequence(cursor: str) -> int:
    try:
        sequence = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise InvalidParameterError("cursor: not one that a page has returned.") from error
    # Sequences are offsets of a log, which have 63 bits.
    if not 0 <= sequence < 2**63 or _cursor(sequence) != cursor:
        raise InvalidParameterError("cursor: not one that a page has returned.")
    return sequence
