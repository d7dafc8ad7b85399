"""`/streams`: events and pictures, live, as the background consumer applies them."""

from __future__ import annotations

import json
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.access.scopes import Scope
from app.api import examples, schemas
from app.api.endless import EndlessResponse
from app.api.given import or_default
from app.api.guard import principal_in, requires
from app.api.headers import NO_STORE, RESOURCE_POLICY, FixedHeader, RequestHeader
from app.api.openapi.answers import BINARY, answers, success
from app.api.openapi.components import example, read
from app.api.source import Source  # noqa: TC001 - FastAPI reads the annotations
from app.api.state import Gateway, State  # noqa: TC001 - FastAPI reads the annotations
from app.delivery import live
from app.errors import InvalidParameterError, LinkExpiredError, NotReadyError
from app.feed.rounds import facts_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from app.api.encoded import EncodedImages
    from app.catalog.facts import Fact
    from app.feed.pages import Page

router = APIRouter(tags=["streams"])

# Replicas apply the same event within milliseconds of each other.
_AHEAD_SECONDS = 1.0
# A client whose stream ends, as at a restart of the gateway, reconnects after this.
_RECONNECT_MS = 2000
_BOUNDARY = "imagegate-picture"
# A watcher that is slow holds a piece in the server's buffer, not a picture.
_PIECE_BYTES = 65_536
# nginx would buffer small pieces.
UNBUFFERED = FixedHeader("X-Accel-Buffering", "Tells nginx to pass bytes on as they come.", "no")
# Not FastAPI's union with null: generated clients would not turn the number into text.
LAST_EVENT_ID = RequestHeader(
    "Last-Event-ID",
    "Sequence number of the last event seen; -1 for all events.",
    {"type": "integer", "minimum": -1},
)
_UNCACHED = {each.name: each.value for each in (NO_STORE, UNBUFFERED)}
_EXAMPLE_EVENTS = b"".join(
    (
        format_sse_event(comment="connected", retry=_RECONNECT_MS),
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
_EXAMPLE_PART = (
    f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
    f"Content-Length: {examples.CONTENT_LENGTH}\r\nContent-Location: {examples.IMAGE_PATH}\r\n\r\n"
)


@router.get(
    "/streams/images",
    operation_id="streamImages",
    summary="Follow the events of images",
    # With `EventSourceResponse` here FastAPI would take the handler itself for the generator.
    response_class=Response,
    openapi_extra={"parameters": read(LAST_EVENT_ID)},
    responses=answers(
        {
            200: success(
                "Server-sent events, without end.",
                NO_STORE,
                UNBUFFERED,
                content={
                    "text/event-stream": {
                        "schema": {"type": "string"},
                        "examples": example("events", "Two events", _EXAMPLE_EVENTS),
                    }
                },
            )
        },
        InvalidParameterError,
        NotReadyError,
        LinkExpiredError,
    ),
)
@requires(Scope.STREAMS, or_link=True)
async def stream_images(
    request: Request,
    gateway: Gateway,
    last_event_id: Annotated[
        int | None,
        Header(ge=-1, include_in_schema=False),
        or_default(),
    ] = None,
    source: Source = None,
) -> EndlessResponse:
    """Server-sent events from now on, or after `Last-Event-ID`, each exactly once and in order.

    They are of one's own images; with `admin`, or where no credential is needed, of everyone's.

    The event's name is `image.stored`, `image.moved` (brought here from another log) or
    `image.deleted`, its data the image's JSON, or only its `id` once it is deleted, its id the
    sequence number. A comment comes every 15 seconds at least.
    """
    _require_open(gateway)
    if last_event_id is None:
        last_event_id = gateway.feed.sequence
    # The replica that sent the event may be slightly ahead of this one.
    elif not await gateway.feed.applied_within(last_event_id, _AHEAD_SECONDS):
        raise InvalidParameterError(f"Last-Event-ID: the newest event is {gateway.feed.sequence}.")
    pages = facts_after(
        gateway.feed,
        gateway.pages,
        last_event_id,
        gateway.connections.ping_seconds,
        principal_in(request.scope).confined_to,
        source,
    )
    headers = _headers(gateway) | {"Content-Type": "text/event-stream; charset=utf-8"}
    return EndlessResponse(_events(pages, gateway.encoded, _admission(request)), headers)


@router.get(
    "/streams/images.mjpeg",
    operation_id="watchImages",
    summary="Watch the newest picture",
    response_class=Response,
    responses=answers(
        {
            200: success(
                "JPEGs, without end, each replacing the one before.",
                NO_STORE,
                UNBUFFERED,
                content={
                    "multipart/x-mixed-replace": {
                        "schema": BINARY,
                        "examples": example("picture", "The head of a part", _EXAMPLE_PART),
                    }
                },
            )
        },
        InvalidParameterError,
        NotReadyError,
        LinkExpiredError,
    ),
)
@requires(Scope.STREAMS, or_link=True)
async def watch_images(
    request: Request,
    gateway: Gateway,
    width: Annotated[
        int | None,
        Query(
            ge=16,
            le=live.MAX_SIDE,
            description="The longest side, in pixels; rounded up to a multiple of 160.",
            examples=[640],
        ),
        or_default(),
    ] = None,
    fps: Annotated[
        float | None,
        Query(ge=0.1, le=60, description="The most pictures a second.", examples=[2]),
        or_default(),
    ] = None,
    source: Source = None,
) -> EndlessResponse:
    """One's own pictures, each replacing the one before: put the address into an `<img>` tag.

    The newest picture comes at once, and then each one that is newest when the watcher is ready for
    it. A slow watcher misses pictures and delays nobody. Every picture comes as a JPEG.
    """
    _require_open(gateway)
    owner = principal_in(request.scope).confined_to
    frames = gateway.pictures.watch(width, fps, owner, source)
    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    headers = _headers(gateway) | {"Content-Type": media_type}
    return EndlessResponse(_parts(frames, _admission(request)), headers)


def _headers(gateway: State) -> dict[str, str]:
    return _UNCACHED | {RESOURCE_POLICY.name: gateway.sites.embedding.value}


def _admission(request: Request) -> Callable[[], bool]:
    """Return what tells whether the reader may still have what there is: a key may be revoked."""
    return partial(request.app.state.access.still_admits, principal_in(request.scope))


async def _parts(
    frames: AsyncGenerator[live.Frame, None], is_admitted: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Yield pictures with the boundary *after* each: browsers show a part once it has ended."""
    yield f"--{_BOUNDARY}\r\n".encode()
    async with aclosing(frames):
        async for frame in frames:
            if not is_admitted():
                return
            headers = (
                f"Content-Type: image/jpeg\r\nContent-Length: {frame.picture.length}\r\n"
                f"Content-Location: {schemas.path_of(frame.image_id)}\r\n\r\n"
            )
            yield headers.encode()
            for start in range(0, frame.picture.length, _PIECE_BYTES):
                yield frame.picture.jpeg[start : start + _PIECE_BYTES]
            yield f"\r\n--{_BOUNDARY}\r\n".encode()
            del frame  # it would be held until the next one comes


def _require_open(gateway: State) -> None:
    gateway.feed.require_caught_up()
    if gateway.feed.closing:
        raise NotReadyError("The gateway is stopping.")


async def _events(
    pages: AsyncGenerator[Page, None], encoded: EncodedImages, is_admitted: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    def told(facts: Sequence[Fact]) -> bytes:
        # In one piece: sending costs more than finding the JSON of an event.
        return b"".join([_event(fact, encoded) for fact in facts])

    yield format_sse_event(comment="connected", retry=_RECONNECT_MS)
    async with aclosing(pages):
        async for page in pages:
            if not is_admitted():
                return
            yield page.made(told) or KEEPALIVE_COMMENT


def _event(fact: Fact, encoded: EncodedImages) -> bytes:
    if fact.image is not None:
        data = encoded.encode(fact.image)
    else:
        data = b'{"id": "%s"}' % fact.image_id.encode()
    # As `format_sse_event` does, which takes text and looks for lines: JSON is one.
    return b"event: %s\ndata: %s\nid: %d\n\n" % (fact.type.encode(), data, fact.sequence)
