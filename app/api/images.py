"""`/images`: list, describe and delete stored images."""

from __future__ import annotations

import base64
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import StreamingResponse

from app import errors
from app.access.scopes import Scope
from app.api import digests, examples, listing, revalidated, schemas
from app.api.codings import CONTENT_CODING
from app.api.given import or_default
from app.api.guard import principal_in, requires
from app.api.headers import PRIVATE, ResponseHeader
from app.api.openapi.answers import FINDING, WRITING, answers, json_content, success
from app.api.openapi.components import example, following, read
from app.api.source import Source  # noqa: TC001 - FastAPI reads the annotations
from app.api.state import Gateway  # noqa: TC001 - FastAPI reads the annotations
from app.client import address_in
from app.errors import InvalidParameterError

logger = structlog.get_logger(__name__)

router = APIRouter(tags=["images"])


class _ImageIdConvertor(StringConvertor):
    """Any text, so that a malformed id is a 404 as an unknown one is; but no other route's path."""

    regex = "(?!batch$)[^/]+"


register_url_convertor("image_id", _ImageIdConvertor())

ImageId = Annotated[
    str,
    Path(
        description="Id of the image, as the upload returned it.",
        examples=[examples.IMAGE_ID],
        json_schema_extra=schemas.ID,
    ),
]
# Images in a page.
_LIMIT = 50
LINK = ResponseHeader(
    "Link",
    "Path of the next page (RFC 8288); missing on the last one.",
    f'</images?limit=1&cursor={examples.CURSOR}>; rel="next"',
    required=False,
)


@router.get(
    "/images",
    operation_id="listImages",
    summary="List images, newest first",
    response_model=schemas.ImagePage,
    openapi_extra={"parameters": read(digests.WANT_CONTENT_DIGEST)},
    responses=answers(
        {
            200: success(
                "A page.",
                LINK,
                PRIVATE,
                revalidated.ETAG,
                CONTENT_CODING,
                digests.CONTENT_DIGEST,
                content=json_content(
                    example("page", "A page that is not the last", examples.IMAGE_PAGE)
                ),
                links=following({"cursor": "$response.body#/next_cursor"}, "listImages")
                | following({"image_id": "$response.body#/images/0/id"}, *schemas.LINKS),
            ),
        },
        errors.InvalidParameterError,
        errors.NotReadyError,
        errors.CatalogDamagedError,
    ),
)
@requires(Scope.LIST)
async def list_images(
    request: Request,
    gateway: Gateway,
    limit: Annotated[
        int,
        Query(ge=1, le=1000, description="The most images in a page.", examples=[50]),
        or_default(_LIMIT),
    ] = _LIMIT,
    cursor: Annotated[
        str | None,
        Query(
            description="`next_cursor` of the page before; empty, or left out, for the first page.",
            max_length=64,
            examples=[examples.CURSOR],
            json_schema_extra=schemas.GIVEN_CURSOR,
        ),
        or_default(),
    ] = None,
    source: Source = None,
) -> Response:
    """Return a page of one's own images; the `Link` header leads to the next one.

    With `admin`, or where the server asks for no credential, it lists everyone's.
    """
    gateway.feed.require_caught_up()
    owner = principal_in(request.scope).confined_to
    before = _sequence(cursor) if cursor else None
    page = await gateway.listing.page(limit, before, owner, source)
    next_cursor = _cursor(page.last) if page.last is not None else None
    headers = {PRIVATE.name: PRIVATE.value}
    if next_cursor:
        target = request.url.include_query_params(cursor=next_cursor)
        headers[LINK.name] = f'<{target.path}?{target.query}>; rel="next"'
    tag = listing.tag(page, next_cursor)
    if unmodified := revalidated.unmodified(request.headers, tag, headers):
        return unmodified
    headers[revalidated.ETAG.name] = tag
    headers["Content-Length"] = str(listing.length(page, next_cursor))
    if (algorithm := digests.wanted_of_content(request.headers)) is not None:
        made = digests.new(algorithm)
        async for piece in listing.body(page, next_cursor):
            made.update(piece)
        headers[digests.CONTENT_DIGEST.name] = digests.field_of(algorithm, made.digest())
    return StreamingResponse(
        listing.body(page, next_cursor), headers=headers, media_type="application/json"
    )


@router.get(
    "/images/{image_id:image_id}/metadata",
    operation_id="describeImage",
    summary="Describe an image",
    response_model=schemas.Image,
    openapi_extra={"parameters": read(digests.WANT_CONTENT_DIGEST)},
    responses=answers(
        {
            200: success(
                "The image.",
                PRIVATE,
                revalidated.ETAG,
                CONTENT_CODING,
                digests.CONTENT_DIGEST,
                content=json_content(schemas.EXAMPLE),
                links=schemas.LINKS,
            ),
        },
        *FINDING,
        errors.ImageGoneError,
    ),
)
@requires(Scope.READ)
async def describe_image(image_id: ImageId, request: Request, gateway: Gateway) -> Response:
    """Return the JSON that the upload returned, to its owner."""
    found = await gateway.finder.describe(image_id, principal_in(request.scope))
    body = gateway.encoded.encode(found) + b"\n"
    return revalidated.answer(request.headers, body, {PRIVATE.name: PRIVATE.value})


@router.delete(
    "/images/{image_id:image_id}",
    status_code=204,
    response_class=Response,
    operation_id="deleteImage",
    summary="Delete an image for ever",
    responses=answers({204: success("The image is deleted.")}, *FINDING, *WRITING),
)
@requires(Scope.DELETE)
async def delete_image(image_id: ImageId, request: Request, gateway: Gateway) -> None:
    """Hide an image of one's own at once and for ever; deleting it again changes nothing.

    The embedded log erases the bytes at once. In Kafka they stay in the topic, out of reach of this
    API, until the topic's retention removes them.
    """
    await gateway.deleter.delete(image_id, principal_in(request.scope))
    logger.info(
        "image_deleted",
        image_id=image_id,
        principal=principal_in(request.scope).name,
        client=address_in(request.scope),
    )


def _cursor(sequence: int) -> str:
    return base64.urlsafe_b64encode(b"%d" % sequence).decode().rstrip("=")


def _sequence(cursor: str) -> int:
    try:
        sequence = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise InvalidParameterError("cursor: no page has returned this one.") from error
    # Sequences are offsets of a log, which have 63 bits.
    if not 0 <= sequence < 2**63 or _cursor(sequence) != cursor:
        raise InvalidParameterError("cursor: no page has returned this one.")
    return sequence
