"""What the catalog knows of the images that were asked for lately, in memory.

Hides when it is forgotten: with every change of the catalog that may concern the image. A download
asks for nothing else, and a query in a reader's thread would cost a third of a small one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from app.events.event import ImageStored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.catalog.images import Known
    from app.events.sequenced import SequencedEvent

# Some 500 bytes each.
_MOST = 10_000


class Remembered:
    """Answers to `Catalog.known` about images that it knows by the very id, by that.

    What is known by a former id is not kept, as changes do not name that.

    Attributes:
        changes: A number that grows with each change of the catalog. An answer is kept if it is
            still what it was when the catalog was asked.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._known: OrderedDict[str, Known] = OrderedDict()

    def get(self, image_id: str) -> Known | None:
        """Return what is known of an image, if that is remembered."""
        if (known := self._known.get(image_id)) is not None:
            self._known.move_to_end(image_id)
        return known

    def keep(self, image_id: str, known: Known, changes: int) -> None:
        """Remember an answer of the catalog, which was asked after so many changes."""
        is_fit = known.ownership is not None and known.image_id == image_id
        if changes != self.changes or not is_fit:
            return
        self._known[image_id] = known
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def forget(self, image_ids: Iterable[str] | None = None) -> None:
        """Forget what was known of these images, or of all, as the catalog has changed."""
        self.changes += 1
        if image_ids is None:
            self._known.clear()
            return
        for each in image_ids:
            self._known.pop(each, None)


def changed_by(events: Sequence[SequencedEvent]) -> list[str] | None:
    """Return the images that events are about; None if they may change others too."""
    stored = [each.event for each in events if isinstance(each.event, ImageStored)]
    if len(stored) < len(events) or any(each.move for each in stored):
        return None
    return [each.image_id for each in stored]
