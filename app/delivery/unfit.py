"""Records of other programs among the images, each reported once.

Hides which were reported: they are read again with every request for them, and anyone who may
write into the topic decides how many there are.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from app.telemetry import metrics

if TYPE_CHECKING:
    from app.log import Position

logger = structlog.get_logger(__name__)

# Some 200 KB; beyond them, the one reported longest ago is forgotten.
_REMEMBERED = 1_000


class UnfitRecords:
    """The records that ids lead to, and that hold no image."""

    def __init__(self) -> None:
        self._reported: OrderedDict[Position, None] = OrderedDict()

    def report(self, head: Position, reason: str) -> None:
        """Count and log an image whose head is at this position, unless that was done."""
        if self._is_news(head):
            metrics.UNFIT_IMAGES.inc()
            logger.error("image_unfit", head=str(head), reason=reason)

    def report_broken(self, head: Position) -> None:
        """Count and log an image whose seal is broken, unless that was done."""
        if self._is_news(head):
            metrics.BROKEN_SEALS.inc()
            logger.error("image_seal_broken", head=str(head))

    def _is_news(self, head: Position) -> bool:
        if head in self._reported:
            return False
        self._reported[head] = None
        if len(self._reported) > _REMEMBERED:
            self._reported.popitem(last=False)
        return True
