"""The work on one upload in codec workers: first the image to store, then its packing.

Hides that packing is optional: whatever becomes of it, the image is there to be stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from app.codec.tasks import Develop, Pack
from app.errors import GatewayError, InternalError
from app.imaging.packing import can_be_packed
from app.telemetry.metrics import PACKINGS_GIVEN_UP

if TYPE_CHECKING:
    from app.codec.pool import CodecPool
    from app.imaging.develop import Developed
    from app.imaging.formats import ImageFormat
    from app.imaging.limits import ImageLimits
    from app.ingest.upload import Upload

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Development:
    """Makes the image to store of an upload.

    Args:
        pool: The workers.
        limits: The limits of one image.
        packing_seconds: Time of a CPU for packing.
    """

    def __init__(self, pool: CodecPool, limits: ImageLimits, packing_seconds: float) -> None:
        self._pool = pool
        self._limits = limits
        self._packing_seconds = packing_seconds

    async def develop(self, upload: Upload, image_format: ImageFormat, client: str) -> Developed:
        """Return the image to store, packed as well as the time allows; raises as the pool does."""
        task = Develop(image_format, self._limits, upload.recipe)
        developed = await self._pool.run(task, upload.data, client)
        if not can_be_packed(developed.info):
            return developed
        return await self._packed(developed, upload, client) or developed

    async def _packed(self, developed: Developed, upload: Upload, client: str) -> Developed | None:
        seconds = self._packing_seconds
        task = Pack(developed.info, self._limits, upload.recipe, seconds)
        try:
            return await self._pool.run(task, developed.data, client, seconds=seconds, let_in=True)
        except GatewayError as error:
            PACKINGS_GIVEN_UP.labels(error.code).inc()
            mistake = error if isinstance(error, InternalError) else None
            context = structlog.contextvars.get_contextvars()
            logger.warning("packing_given_up", reason=error.code, exc_info=mistake, **context)
            return None
