"""The deletion of images that have expired or lost their idempotency token, and of unneeded keys.

Hides that any gateway may do it, and several may at once: a copy of a deletion changes nothing. The
clocks of gateways differ, so it begins a while after an image is hidden.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from app.background import BackgroundJob
from app.changes.deletion import append, append_deletions
from app.changes.key_sweep import KeySweep
from app.errors import GatewayError
from app.telemetry import metrics

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.feed.feed import Feed
    from app.log import Log
    from app.records.signature import Signatures

logger = structlog.get_logger(__name__)

_PERIOD_SECONDS = 60.0
_REST_SECONDS = 1.0
# Clocks that are set by NTP differ by less; `imagegate doctor` warns of five seconds.
_GRACE_SECONDS = 60.0
# Images deleted in one append.
_AT_ONCE = 100
# Applying an event takes milliseconds.
_APPLY_SECONDS = 5.0


class Sweeper:
    """Deletes images of `catalog` that have expired, from `start` to `stop`."""

    def __init__(
        self,
        log: Log,
        catalog: Catalog,
        feed: Feed,
        signatures: Signatures,
        *,
        grace_seconds: float = _GRACE_SECONDS,
        period_seconds: float = _PERIOD_SECONDS,
    ) -> None:
        self._keys = KeySweep(log, catalog, feed, signatures)
        self._log = log
        self._catalog = catalog
        self._feed = feed
        self._signatures = signatures
        self._grace_seconds = grace_seconds
        self._job = BackgroundJob(self._try, "sweep", period_seconds, _REST_SECONDS)

    def start(self) -> None:
        """Start sweeping, in the background."""
        self._job.start()

    async def stop(self) -> None:
        """Stop sweeping."""
        await self._job.stop()

    async def sweep(self) -> int:
        """Delete every image that has expired or lost its token; return how many there were.

        Raises:
            NotReadyError: The catalog has not caught up.
            GatewayError: The log does not work.
        """
        self._feed.require_caught_up()
        swept = await self._sweep_lost()
        while images := await self._catalog.expired(time.time() - self._grace_seconds, _AT_ONCE):
            places = await append_deletions(self._log, self._catalog, self._signatures, images)
            swept += len(images)
            metrics.IMAGES_SWEPT.inc(len(images))
            logger.info("images_swept", count=len(images))
            if not await self._feed.applied_within(places[-1].offset, _APPLY_SECONDS):
                break
        return swept

    async def sweep_keys(self) -> int:
        """Erase every key that no image needs; return how many there were.

        Raises:
            NotReadyError: The catalog has not caught up.
            GatewayError: The log does not work.
        """
        self._feed.require_caught_up()
        return await self._keys.sweep()

    async def _sweep_lost(self) -> int:
        swept = 0
        # No clock is asked: the log has decided.
        while deletions := await self._catalog.lost(_AT_ONCE):
            places = await append(self._log, self._signatures, deletions)
            swept += len(deletions)
            logger.info("duplicates_swept", count=len(deletions))
            if not await self._feed.applied_within(places[-1].offset, _APPLY_SECONDS):
                break
        return swept

    async def _try(self) -> None:
        try:
            await self.sweep()
            await self.sweep_keys()
        except GatewayError as error:
            logger.info("sweep_postponed", reason=error.detail)
        # Sweeping must go on, whatever the catalog's disk does; the follower meets it too.
        except Exception:
            logger.exception("sweep_failed")
