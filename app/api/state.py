"""The parts that handlers work with, built by the lifespan in `app.main`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

if TYPE_CHECKING:
    from app.access.read_rule import ReadRule
    from app.api.encoded import EncodedImages
    from app.api.listing import Listing
    from app.api.settings import ConnectionSettings, SiteSettings
    from app.catalog.catalog import Catalog
    from app.changes.delete import Deleter
    from app.delivery.delivery import Delivery
    from app.delivery.digests import ImageDigests
    from app.delivery.find import Finder
    from app.delivery.live import LivePictures
    from app.feed.feed import Feed
    from app.feed.pages import Pages
    from app.imaging.settings import ImagingSettings
    from app.ingest.batches import Batches
    from app.ingest.ingest import Ingest
    from app.ingest.settings import BodySettings, UploadSettings
    from app.log import Log


@dataclass(frozen=True, slots=True)
class State:
    """The parts of a running gateway, and the settings that handlers read."""

    connections: ConnectionSettings
    sites: SiteSettings
    pace: BodySettings
    upload: UploadSettings
    imaging: ImagingSettings
    rule: ReadRule
    log: Log
    catalog: Catalog
    feed: Feed
    ingest: Ingest
    batches: Batches
    finder: Finder
    delivery: Delivery
    digests: ImageDigests
    deleter: Deleter
    pictures: LivePictures
    encoded: EncodedImages
    listing: Listing
    pages: Pages

    def drain(self) -> None:
        """Stop being ready, and end the streams; running requests go on."""
        self.feed.close_streams()


# `async` though it awaits nothing: FastAPI calls a plain function in a thread, which takes 0.2 ms.
async def _state(request: Request) -> State:
    return cast("State", request.app.state.gateway)


Gateway = Annotated[State, Depends(_state)]
