"""The opening of events that came before the key of their image could be had.

Hides when that is tried: periodically, for some images in turn, and for all as soon as the key of
one is there. So a gateway heals without a rebuild when it is given a key, or a key service is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from app.background import BackgroundJob
from app.errors import GatewayError
from app.feed.dead_letters import DeadLetters
from app.feed.locked import LockedEvents
from app.telemetry.metrics import LOCKED_IMAGES

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.events.trust import Trust
    from app.log import ReadableLog
    from app.records.image_keys import ImageKeys

logger = structlog.get_logger(__name__)

# A look at the catalog where nothing is locked; else a page of events is read.
_PERIOD_SECONDS = 2.0
# Between two rounds, however many clients request images that are locked.
_REST_SECONDS = 1.0
# Events read at once, some 2 KB each.
_PAGE = 100


class Unlocking:
    """Opens the locked images in `catalog`, whose events are in `log`, from `start` to `stop`."""

    def __init__(
        self,
        log: ReadableLog,
        catalog: Catalog,
        trust: Trust,
        keys: ImageKeys,
        *,
        period_seconds: float = _PERIOD_SECONDS,
        rest_seconds: float = _REST_SECONDS,
    ) -> None:
        self._catalog = catalog
        letters = DeadLetters(log, trust.signatures)
        self._events = LockedEvents(log, catalog, trust, keys, letters)
        self._job = BackgroundJob(self._try, "unlocking", period_seconds, rest_seconds)
        # Behind the last that was tried.
        self._after = -1
        self._locked = 0

    def start(self) -> None:
        """Begin, in the background, at once: there may be other keys than before."""
        self._job.start()
        self._job.ask()

    async def stop(self) -> None:
        """Stop."""
        await self._job.stop()

    def ask(self) -> None:
        """Try soon."""
        self._job.ask()

    async def _try(self) -> None:
        try:
            while await self._open_some():
                pass
            self._report(await self._catalog.count_locked())
        except GatewayError as error:
            logger.info("unlocking_failed", reason=error.detail, cause=repr(error.__cause__))
        # It must go on, whatever the catalog's disk does; the follower meets it too.
        except Exception:
            logger.exception("unlocking_failed")

    def _report(self, locked: int) -> None:
        LOCKED_IMAGES.set(locked)
        if locked and not self._locked:
            logger.warning("images_locked", count=locked)
        elif self._locked and not locked:
            logger.info("images_unlocked")
        self._locked = locked

    async def _open_some(self) -> bool:
        """Try the next locked images; tell whether others are worth trying now."""
        locked = dict(await self._catalog.locked(self._after, _PAGE))
        if not locked:
            # From the first one again, in the next round.
            self._after = -1
            return False
        self._after = max(locked)
        return await self._events.open(locked)
