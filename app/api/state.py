"""What the handlers work with, made by the lifespan in `app.main`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

if TYPE_CHECKING:
    from app.catalog import Catalog
    from app.delivery import Delivery
    from app.feed import Feed
    from app.ingest import Ingest
    from app.live import LivePictures
    from app.log import Log
    from app.settings import Settings


@dataclass(frozen=True, slots=True)
class State:
    """The parts of a running gateway."""

    settings: Settings
    log: Log
    catalog: Catalog
    feed: Feed
    ingest: Ingest
    delivery: Delivery
    pictures: LivePictures

    def drain(self) -> None:
        """Be ready no longer, and end the streams; requests under way go on."""
        self.feed.close_streams()


# Not for what it awaits: FastAPI calls one that is not `async` in a thread, which takes 0.2 ms.
async def _state(request: Request) -> State:
    return cast("State", request.app.state.gateway)


Gateway = Annotated[State, Depends(_state)]
