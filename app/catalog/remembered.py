"""What the catalog knows of the images that were asked for lately, in memory.

Hides when it is forgotten: with every change of the catalog that may concern the image. A download
asks for nothing else, and a query in a reader's thread would cost a third of a small one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from app.events.event import ImageStored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.events.sequenced import SequencedEvent

T = TypeVar("T")

# Some 500 bytes each.
_MOST = 10_000


class Remembered(Generic[T]):
    """Answers of the catalog about images, by their ids.

    Attributes:
        changes: A number that grows with each change of the catalog. An answer is kept if it is
            still what it was when the catalog was asked.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._answers: OrderedDict[str, T] = OrderedDict()

    def get(self, image_id: str) -> T | None:
        """Return the answer about an image, if it is remembered."""
        if (answer := self._answers.get(image_id)) is not None:
            self._answers.move_to_end(image_id)
        return answer

    def keep(self, image_id: str, answer: T, changes: int) -> None:
        """Remember an answer of the catalog, which was asked after so many changes."""
        if changes != self.changes:
            return
        self._answers[image_id] = answer
        if len(self._answers) > _MOST:
            self._answers.popitem(last=False)

    def forget(self, image_ids: Iterable[str] | None = None) -> None:
        """Forget the answers about these images, or about all, as the catalog has changed."""
        self.changes += 1
        if image_ids is None:
            self._answers.clear()
            return
        for each in image_ids:
            self._answers.pop(each, None)


def changed_by(events: Sequence[SequencedEvent]) -> list[str] | None:
    """Return the images that events are about; None if they may change others too."""
    stored = [each.event for each in events if isinstance(each.event, ImageStored)]
    if len(stored) < len(events) or any(each.move for each in stored):
        return None
    return [each.image_id for each in stored]
