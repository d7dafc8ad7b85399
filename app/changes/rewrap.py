"""The wrapping of images' keys by the newest sealing key, so that an older one can be dropped.

Hides its order, in which a crash loses nothing at any point: the key goes into a record of its own,
an event says where it is now, and only once that is found to count is the old record erased. A
record that no event names, or one of which the event came too late, is erased by a sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from app.changes.shred import erase
from app.errors import KeyUnavailableError, NotReadyError
from app.events.event import encode
from app.events.rewrapped import ImageRewrapped
from app.log import EVENTS
from app.records.image_keys import ImageKeys
from app.records.writer import append_keys
from app.sealing.wrapped_key import WrappedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.catalog.catalog import Catalog
    from app.catalog.sealed import KeyedImage
    from app.feed.feed import Feed
    from app.log import Log
    from app.records.address import Address
    from app.records.signature import Signatures
    from app.sealing.data_keys import DataKeys

logger = structlog.get_logger(__name__)

# Keys wrapped in one go.
_AT_ONCE = 100
# Applying a page of events takes milliseconds.
_APPLY_SECONDS = 15.0


@dataclass(slots=True)
class Rewrapped:
    """Counts of images.

    Args:
        wrapped: Their key was wrapped again, or would be.
        newest: Their key was wrapped by the newest one already.
        failed: Their key could not be had, or not be wrapped.
    """

    wrapped: int = 0
    newest: int = 0
    failed: int = 0

    @property
    def seen(self) -> int:
        """All of them."""
        return self.wrapped + self.newest + self.failed


@dataclass(frozen=True, slots=True)
class _Change:
    image: KeyedImage
    wrapped: WrappedKey


class Rewrapper:
    """Wraps the keys of images again, of those whose key is in a record of its own.

    Args:
        log: The log.
        catalog: What is known of it.
        feed: How far that is.
        signatures: Sign the records.
        keys: Unwrap and wrap.
        keep: Only count.
    """

    def __init__(
        self,
        log: Log,
        catalog: Catalog,
        feed: Feed,
        signatures: Signatures,
        keys: DataKeys,
        *,
        keep: bool = False,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._feed = feed
        self._signatures = signatures
        self._keys = keys
        self._found = ImageKeys(log, keys)
        self._keep = keep
        self.counts = Rewrapped()

    async def run(self, on_page: Callable[[Rewrapped], None] = lambda _: None) -> Rewrapped:
        """Wrap every key that is not wrapped by the newest key; call it again after any error.

        Raises:
            KeyUnavailableError: There is no key to wrap them by.
            NotWrittenError, OutcomeUnknownError: Not all were.
            NotReadyError: The events are not applied.
        """
        sequence = -1
        while page := await self._catalog.keyed(sequence, _AT_ONCE):
            changes = await self._changes(page)
            if changes and not self._keep:
                await self._move(changes)
            self.counts.wrapped += len(changes)
            sequence = page[-1].sequence
            on_page(self.counts)
        return self.counts

    async def _changes(self, page: Sequence[KeyedImage]) -> list[_Change]:
        """Return the images of a page whose key is to be wrapped again, with it."""
        there: list[tuple[KeyedImage, WrappedKey]] = []
        for image, found in zip(
            page, await self._found.wrapped([each.key for each in page]), strict=True
        ):
            if isinstance(found, WrappedKey):
                there.append((image, found))
            elif isinstance(found, KeyUnavailableError):
                self._failed(image, found.reason)
        old = [wrapped for _, wrapped in there]
        new = await self._keys.rewrap(old)
        # Nothing is erased unless the new one is known to open what the old one does.
        both = [*old, *(each for each in new if isinstance(each, WrappedKey))]
        by_wrapped = dict(zip(both, await self._keys.unwrap_all(both), strict=True))
        changes = []
        for (image, before), after in zip(there, new, strict=True):
            if after == before:
                self.counts.newest += 1
            elif isinstance(after, KeyUnavailableError):
                self._failed(image, after.reason)
            elif isinstance(by_wrapped[before], bytes) and by_wrapped[before] == by_wrapped[after]:
                changes.append(_Change(image, after))
            else:
                self._failed(image, "The key that was wrapped again is another one.")
        return changes

    async def _move(self, changes: Sequence[_Change]) -> None:
        """Write keys, announce where they are, and erase those records that nothing names then."""
        wrapped = [each.wrapped for each in changes]
        places = await append_keys(self._log, self._signatures, wrapped)
        events = [
            encode(ImageRewrapped(each.image.id, each.image.key, place))
            for each, place in zip(changes, places, strict=True)
        ]
        ends = await self._log.append(
            EVENTS, [self._signatures.sign(EVENTS, each) for each in events]
        )
        if not await self._feed.applied_within(ends[-1].offset, _APPLY_SECONDS):
            raise NotReadyError("The events of the new keys are stored, and not applied yet.")
        pairs = zip(changes, places, strict=True)
        await erase(self._log, [await self._unneeded(each.image, new) for each, new in pairs])

    async def _unneeded(self, image: KeyedImage, new: Address) -> Address:
        """Return the old record, or the new one if another was first, or the image is deleted."""
        seal = await self._catalog.seal_of(image.id)
        return image.key if seal is not None and seal.key == new else new

    def _failed(self, image: KeyedImage, reason: str) -> None:
        self.counts.failed += 1
        logger.warning("key_not_rewrapped", image_id=image.id, reason=reason)
