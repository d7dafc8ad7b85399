"""`/streams`: facts and pictures, live, as the background consumer sees them."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BeforeValidator
from starlette.responses import StreamingResponse

from app.api import schemas
from app.api.openapi import answers, requests
from app.api.state import Gateway, State  # noqa: TC001 - FastAPI reads the annotations
from app.delivery import live
from app.errors import InvalidParameterError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.catalog.catalog import Fact

router = APIRouter(tags=["streams"])

# What one replica has announced, another has applied within milliseconds.
_AHEAD_SECONDS = 1.0
# Facts read at once while a client catches up: some 120 KB of JSON.
_PAGE = 200
# A client whose stream ends, because the gateway restarts, comes back after this.
_RECONNECT_MS = 2000
_BOUNDARY = "imagegate-picture"
# A watcher that is slow holds a piece in the server's buffer, not a picture.
_PIECE_BYTES = 65_536
# The second is for nginx, which would gather what trickles.
_UNCACHED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.get(
    "/streams/images",
    operation_id="streamImages",
    summary="Follow what happens to images",
    # With `EventSourceResponse` here FastAPI would take the handler itself for the generator.
    response_class=Response,
    openapi_extra=requests.STREAM,
    responses=answers.STREAM,
)
async def stream_images(
    gateway: Gateway,
    last_event_id: Annotated[
        int | None,
        # An `EventSource` that has seen no event may send an empty one.
        BeforeValidator(lambda given: given or None),
        Header(ge=-1, include_in_schema=False),
    ] = None,
) -> EventSourceResponse:
    """Server-sent events from now on, or after `Last-Event-ID`, each exactly once and in order.

    The event's name is `image.stored` or `image.deleted`, its data the image's JSON, or only its
    `id` once it is deleted, its id the sequence number. A comment comes every 15 seconds at least.
    """
    _require_open(gateway)
    if last_event_id is None:
        last_event_id = gateway.feed.sequence
    # The replica that sent the event may be a moment ahead of this one.
    elif not await gateway.feed.applied_within(last_event_id, _AHEAD_SECONDS):
        raise InvalidParameterError(f"Last-Event-ID: the newest event is {gateway.feed.sequence}.")
    return EventSourceResponse(_follow(gateway, last_event_id), headers=_UNCACHED)


@router.get(
    "/streams/images.mjpeg",
    operation_id="watchImages",
    summary="Watch the newest picture",
    response_class=Response,
    responses=answers.WATCH,
)
async def watch_images(
    gateway: Gateway,
    width: Annotated[
        int | None,
        Query(
            ge=16,
            le=live.MAX_SIDE,
            description="The longest side, in pixels; rounded up to a multiple of 160.",
            examples=[640],
        ),
    ] = None,
    fps: Annotated[
        float | None,
        Query(ge=0.1, le=60, description="Pictures a second at the most.", examples=[2]),
    ] = None,
) -> StreamingResponse:
    """Pictures, each in place of the one before: put the address into an `<img>` tag.

    The newest picture comes at once, and then each one that is newest when the watcher is ready for
    it; one that is slow misses pictures and holds nobody up. What is not a JPEG comes as one.
    """
    _require_open(gateway)
    return StreamingResponse(
        _parts(gateway.pictures.watch(width, fps)),
        headers=_UNCACHED | {"Content-Type": f"multipart/x-mixed-replace; boundary={_BOUNDARY}"},
    )


async def _parts(frames: AsyncGenerator[live.Frame, None]) -> AsyncGenerator[bytes, None]:
    """Yield pictures with the boundary *after* each: browsers show a part once it has ended."""
    yield f"--{_BOUNDARY}\r\n".encode()
    async with aclosing(frames):
        async for frame in frames:
            headers = (
                f"Content-Type: image/jpeg\r\nContent-Length: {len(frame.jpeg)}\r\n"
                f"Content-Location: {schemas.path_of(frame.image_id)}\r\n\r\n"
            )
            yield headers.encode()
            for start in range(0, len(frame.jpeg), _PIECE_BYTES):
                yield frame.jpeg[start : start + _PIECE_BYTES]
            yield f"\r\n--{_BOUNDARY}\r\n".encode()
            del frame  # it would be held until the next one comes


def _require_open(gateway: State) -> None:
    gateway.feed.require_caught_up()
    if gateway.feed.closing:
        raise NotReadyError("The gateway is stopping.")


async def _follow(gateway: State, after: int) -> AsyncGenerator[bytes, None]:
    feed, loop = gateway.feed, asyncio.get_running_loop()
    ping_seconds = gateway.connections.ping_seconds
    epoch = feed.epoch
    yield format_sse_event(comment="connected", retry=_RECONNECT_MS)
    ping_at = loop.time() + ping_seconds
    while not feed.closing and feed.epoch == epoch:
        more = asyncio.ensure_future(feed.wait_for_more())
        try:
            while facts := await gateway.catalog.facts(after, _PAGE):
                for fact in facts:
                    yield _event(fact)
                after, ping_at = facts[-1].sequence, loop.time() + ping_seconds
                if feed.closing or feed.epoch != epoch:
                    return
            if not (await asyncio.wait({more}, timeout=ping_at - loop.time()))[0]:
                yield KEEPALIVE_COMMENT
                ping_at = loop.time() + ping_seconds
        finally:
            more.cancel()


def _event(fact: Fact) -> bytes:
    if fact.image is not None:
        data = schemas.listed(fact.image).model_dump_json()
    else:
        data = json.dumps({"id": fact.image_id})
    return format_sse_event(data_str=data, event=fact.type, id=str(fact.sequence))
