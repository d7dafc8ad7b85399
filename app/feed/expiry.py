"""The removal of images from the listing once they have left the log by themselves.

Hides when the log is asked. Retention and `DeleteRecords` announce nothing: they move a partition's
start, and every image with a record below it, head or chunk, is gone.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from app.background import BackgroundJob
from app.errors import GatewayError
from app.log import IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.catalog.catalog import Catalog
    from app.log import ReadableLog

logger = structlog.get_logger(__name__)

# Kafka itself looks for expired records every five minutes (log.retention.check.interval.ms).
_PERIOD_SECONDS = 5.0
# What was learned counts for so long: an image that has left the log is served no longer.
_FRESH_SECONDS = 10.0
# Between two comparisons, however many clients request images that are gone.
_REST_SECONDS = 1.0


class Expiry:
    """Compares `catalog` with the starts of the partitions in `log`, from `start` to `stop`.

    Call `ask` when an image was found to be gone, or many became known.
    """

    def __init__(
        self,
        log: ReadableLog,
        catalog: Catalog,
        *,
        period_seconds: float = _PERIOD_SECONDS,
        rest_seconds: float = _REST_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._clock = clock
        self._starts: dict[int, int] = {}
        self._asked_at = -math.inf
        self._job = BackgroundJob(self._try, "expiry", period_seconds, rest_seconds)

    def start(self) -> None:
        """Start comparing, in the background."""
        self._job.start()

    async def stop(self) -> None:
        """Stop comparing."""
        await self._job.stop()

    def ask(self) -> None:
        """Compare soon."""
        self._job.ask()

    async def compare(self) -> None:
        """Remove from the listing what is gone now.

        Raises:
            GatewayError: The log does not answer.
        """
        if starts := await self.starts():
            await self._catalog.forget_before(starts)

    async def starts(self) -> dict[int, int]:
        """Return the first offset that can be read, of each partition that lost some."""
        asked_at, partitions = self._clock(), range(self._log.partitions(IMAGES))
        bounds = await asyncio.gather(*(self._log.bounds(IMAGES, each) for each in partitions))
        self._starts = {each: bounds[each].start for each in partitions}
        self._asked_at = asked_at
        return {each: start for each, start in self._starts.items() if start > 0}

    @property
    def known(self) -> Mapping[int, int] | None:
        """The first offset of each partition, as the log said lately; None if it did not."""
        return self._starts if self._clock() - self._asked_at < _FRESH_SECONDS else None

    async def _try(self) -> None:
        try:
            await self.compare()
        except GatewayError as error:
            logger.info("expiry_not_compared", reason=error.detail, cause=repr(error.__cause__))
        # Comparing must go on, whatever the catalog's disk does; the follower meets it too.
        except Exception:
            logger.exception("expiry_failed")
