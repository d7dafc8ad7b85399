"""`/health`: probes of liveness and readiness. `/metrics`: counters for Prometheus."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.access.scopes import Scope
from app.api.guard import open_to_all, principal_in, requires
from app.api.headers import NO_STORE
from app.api.openapi.answers import answers, json_content, success
from app.api.openapi.components import example
from app.api.probes import LIVE, READY
from app.api.state import Gateway  # noqa: TC001 - FastAPI reads the annotations
from app.errors import NotReadyError
from app.telemetry import metrics

router = APIRouter(tags=["health"])

_OK = json_content(example("ok", "All is well", {"status": "ok"}))


class Health(BaseModel):
    """An answer to a probe."""

    status: Literal["ok"] = Field("ok", description="Always `ok`; trouble is a problem.")


@router.get(
    LIVE,
    operation_id="checkLiveness",
    summary="Is the process alive?",
    responses=answers(
        {200: success("The process is alive.", NO_STORE, content=_OK)}, any_host=True
    ),
)
@open_to_all
async def check_liveness(response: Response) -> Health:
    """Answer without a look at other parts: a broker that is down is no reason for a restart."""
    response.headers[NO_STORE.name] = NO_STORE.value
    return Health()


@router.get(
    READY,
    operation_id="checkReadiness",
    summary="Should it get requests?",
    responses=answers(
        {200: success("The gateway should get requests.", NO_STORE, content=_OK)},
        NotReadyError,
        any_host=True,
    ),
)
@open_to_all
async def check_readiness(request: Request, response: Response, gateway: Gateway) -> Health:
    """Answer 200 when the log is reachable and every event is applied.

    Those who may know are told why not.
    """
    troubles = [
        "the gateway is stopping" if gateway.feed.closing else None,
        gateway.feed.trouble,
        gateway.log.trouble,
    ]
    if reasons := "; ".join(filter(None, troubles)):
        if not principal_in(request.scope).may(Scope.OPS):
            raise NotReadyError(
                f"The gateway is not ready; {Scope.OPS} may read why.", retry_after_seconds=1
            )
        raise NotReadyError(f"{reasons[0].upper()}{reasons[1:]}.", retry_after_seconds=1)
    response.headers[NO_STORE.name] = NO_STORE.value
    return Health()


@router.get("/metrics", include_in_schema=False)
@requires(Scope.OPS)
async def show_metrics() -> Response:
    """Answer with counters for Prometheus."""
    headers = {NO_STORE.name: NO_STORE.value}
    return Response(metrics.exposition(), headers=headers, media_type=metrics.CONTENT_TYPE)
