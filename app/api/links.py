"""`POST /links`: make a signed link, a credential in an address for one operation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Body, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app import errors
from app.access.links import Link, Operation
from app.access.scopes import Scope
from app.api import examples, schemas
from app.api.guard import principal_in, require, requires_any
from app.api.headers import NO_STORE
from app.api.openapi.answers import FINDING, answers, json_content, success
from app.api.openapi.components import example
from app.api.options import Options
from app.api.small_body import SmallBodyRoute
from app.api.state import Gateway, State  # noqa: TC001 - FastAPI reads the annotations
from app.client import address_in
from app.delivery import live
from app.errors import InvalidParameterError
from app.imaging.formats import LACKING, ImageFormat
from app.imaging.info import Visibility
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.names import MAX_SOURCE_CHARACTERS, is_owner, source_of
from app.imaging.profiles import Profile
from app.ingest.settings import MOST_SECONDS

logger = structlog.get_logger(__name__)

router = APIRouter(tags=["links"], route_class=SmallBodyRoute)

_EXAMPLE = {
    "link": examples.LINK_ID,
    "url": examples.LINK_URL,
    "method": "GET",
    "expires_at": examples.LINK_EXPIRES_AT,
}


class _Wanted(BaseModel):
    """A link to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _owner(name: str) -> str:
    if not is_owner(name):
        raise ValueError("should be the name of a principal")
    return name


_Source = Annotated[
    str, Field(min_length=1, max_length=MAX_SOURCE_CHARACTERS), AfterValidator(source_of)
]


class DownloadLink(_Wanted):
    """A link to download one image."""

    kind: Literal["download"] = Field(description="Always `download`.")
    image_id: str = Field(
        max_length=64,
        description="Its id.",
        examples=[examples.IMAGE_ID],
        json_schema_extra=schemas.ID,
    )
    expires_in_seconds: int = Field(
        3_600, ge=1, le=604_800, description="How long it is valid: up to a week."
    )


def _may_repeat(schema: dict[str, Any]) -> None:
    """Naming a format twice does no harm, whatever Pydantic says of a set."""
    del schema["uniqueItems"]


class UploadLink(_Wanted):
    """A link to upload images, for a client that nobody trusts: it can choose nothing."""

    kind: Literal["upload"] = Field(description="Always `upload`.")
    expires_in_seconds: int = Field(
        600, ge=1, le=3_600, description="How long an upload may begin: up to an hour."
    )
    uses: int = Field(1, ge=1, le=10_000, description="How many images it may store.")
    max_bytes: int | None = Field(
        None, ge=1_000, description="The largest upload; without it, that of the server."
    )
    formats: frozenset[ImageFormat] = Field(
        frozenset(),
        description="The formats that are accepted; without it, those of the server.",
        json_schema_extra=_may_repeat,
    )
    profile: Profile | None = Field(
        None, description="How to compress the images; without it, the server's default."
    )
    metadata: MetadataOption | None = Field(
        None, description="The metadata that stays; without it, the server's default."
    )
    visibility: Visibility | None = Field(
        None, description="Who may read the images; without it, as the server's rule says."
    )
    expires_in: int | None = Field(
        None,
        ge=1,
        le=MOST_SECONDS,
        description="How long each image is kept, in seconds; without it, as the server says.",
    )
    source: _Source | None = Field(
        None, description="The camera or device that the images are from; without it, none."
    )
    owner: Annotated[str, AfterValidator(_owner)] | None = Field(
        None,
        description="Whose the images are; without it, yours. Another needs `admin`.",
    )


class StreamLink(_Wanted):
    """A link to a stream, for what cannot send headers: `<img>` and `EventSource`."""

    kind: Literal["stream"] = Field(description="Always `stream`.")
    stream: Literal["images", "images.mjpeg"] = Field(
        description="`images` for events, `images.mjpeg` for live pictures."
    )
    expires_in_seconds: int = Field(
        60,
        ge=1,
        le=300,
        description="How long a client may connect: up to five minutes. The stream goes on after.",
    )
    width: int | None = Field(
        None, ge=16, le=live.MAX_SIDE, description="Of live pictures: the longest side, in pixels."
    )
    fps: float | None = Field(
        None, ge=0.1, le=60, description="Of live pictures: the most pictures a second."
    )
    source: _Source | None = Field(
        None, description="Only images from this camera or device; without it, every one."
    )


Wanted = Annotated[
    DownloadLink | UploadLink | StreamLink,
    Body(discriminator="kind", description="The link to make."),
]


class SignedLink(BaseModel):
    """A signed link. Whoever has its `url` may use it."""

    link: str = Field(
        description="Its id, as the gateway's log names it.", examples=[examples.LINK_ID]
    )
    url: str = Field(description="Path and query.", examples=[examples.LINK_URL])
    method: Literal["GET", "POST"] = Field(description="How to use it.", examples=["GET"])
    expires_at: datetime = Field(description="When it ends.", examples=[examples.LINK_EXPIRES_AT])


@router.post(
    "/links",
    status_code=201,
    operation_id="makeLink",
    summary="Make a signed link",
    responses=answers(
        {
            201: success(
                "The link.", NO_STORE, content=json_content(example("link", "A link", _EXAMPLE))
            )
        },
        errors.IncompleteBodyError,
        errors.RequestTimeoutError,
        errors.BodyTooLargeError,
        errors.UnsupportedEncodingError,
        errors.UnsupportedMediaTypeError,
        errors.InvalidParameterError,
        errors.CrossSiteError,
        errors.InvalidDigestError,
        errors.UploadAlteredError,
        errors.ImageGoneError,
        *FINDING,
    ),
)
@requires_any
async def make_link(
    wanted: Wanted, request: Request, response: Response, gateway: Gateway
) -> SignedLink:
    """Return an address that allows one operation to whoever has it, and needs no other credential.

    A client can pass on only what it may do itself: a download needs `images:read`, an upload
    `images:write`, a stream `streams:read`.
    """
    match wanted:
        case DownloadLink():
            link = await _download(wanted, request, gateway)
        case UploadLink():
            link = await _upload(wanted, request, gateway)
        case StreamLink():
            link = await _stream(wanted, request)
    logger.info(
        "link_made",
        kind=wanted.kind,
        link=link.id,
        path=link.url.partition("?")[0],
        options=wanted.model_dump(
            mode="json", exclude_unset=True, exclude={"kind", "image_id", "stream"}
        ),
        expires_at=_time(link).isoformat(),
        principal=principal_in(request.scope).name,
        client=address_in(request.scope),
    )
    response.headers[NO_STORE.name] = NO_STORE.value
    method: Literal["GET", "POST"] = "POST" if wanted.kind == "upload" else "GET"
    return SignedLink(link=link.id, url=link.url, method=method, expires_at=_time(link))


async def _download(wanted: DownloadLink, request: Request, gateway: State) -> Link:
    require(request.scope, Scope.READ)
    await gateway.finder.find(wanted.image_id, principal_in(request.scope))
    operation = Operation(Scope.READ, schemas.path_of(wanted.image_id))
    return await _made(request, operation, wanted.expires_in_seconds, {})


async def _upload(wanted: UploadLink, request: Request, gateway: State) -> Link:
    require(request.scope, Scope.WRITE)
    if wanted.owner not in (None, principal_in(request.scope).name):
        require(request.scope, Scope.ADMIN)
    if wanted.max_bytes and wanted.max_bytes > gateway.upload.max_bytes:
        raise InvalidParameterError(f"max_bytes: up to {gateway.upload.max_bytes:,} are allowed.")
    if lacking := wanted.formats & LACKING:
        names = ", ".join(each.value for each in lacking)
        raise InvalidParameterError(f"formats: {names} cannot be decoded here.")
    choices = ("profile", "metadata", "visibility", "expires_in", "source")
    chosen = {name: getattr(wanted, name) for name in choices}
    allowed = Options(gateway.imaging, gateway.rule, gateway.upload, "")
    for name, value in chosen.items():
        if value is not None:
            allowed.choose(name, str(value))
    options: dict[str, object] = chosen | {
        "uses": wanted.uses,
        "max_bytes": wanted.max_bytes,
        "formats": ",".join(sorted(each.value for each in wanted.formats)) or None,
        "owner": wanted.owner,
    }
    return await _made(
        request, Operation(Scope.WRITE, "/images"), wanted.expires_in_seconds, options
    )


async def _stream(wanted: StreamLink, request: Request) -> Link:
    require(request.scope, Scope.STREAMS)
    if wanted.stream == "images" and (wanted.width, wanted.fps) != (None, None):
        raise InvalidParameterError("width, fps: events have neither.")
    options: dict[str, object] = {
        "width": wanted.width,
        "fps": wanted.fps,
        "source": wanted.source,
    }
    operation = Operation(Scope.STREAMS, f"/streams/{wanted.stream}")
    return await _made(request, operation, wanted.expires_in_seconds, options)


async def _made(
    request: Request, operation: Operation, seconds: int, options: dict[str, object]
) -> Link:
    maker = principal_in(request.scope)
    made: Link = await request.app.state.access.links.make(operation, maker, seconds, options)
    return made


def _time(link: Link) -> datetime:
    return datetime.fromtimestamp(link.expires_at, UTC)
