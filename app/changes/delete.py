"""The deletion of an image: an event that hides it for ever, on every replica.

Hides that the key of an image that is to be shredded is erased next, and by whom if not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.changes.deletion import deletion_of
from app.changes.shred import erase, keys_of
from app.errors import ImageGoneError, OutcomeUnknownError, RecordDamagedError
from app.events.event import ImageDeleted, encode
from app.log import EVENTS
from app.records.signature import NO_SIGNATURES, Signatures

if TYPE_CHECKING:
    from app.access.principal import Principal
    from app.catalog.catalog import Catalog
    from app.delivery.find import Finder
    from app.feed.feed import Feed
    from app.log import Log

# Applying an event takes milliseconds; a feed that takes longer is not ready.
_APPLY_SECONDS = 5.0


class Deleter:
    """Deletes images that `finder` finds."""

    def __init__(
        self,
        log: Log,
        finder: Finder,
        catalog: Catalog,
        feed: Feed,
        signatures: Signatures = NO_SIGNATURES,
        *,
        apply_seconds: float = _APPLY_SECONDS,
    ) -> None:
        self._log = log
        self._finder = finder
        self._catalog = catalog
        self._feed = feed
        self._signatures = signatures
        self._apply_seconds = apply_seconds

    async def delete(self, image_id: str, owner: Principal) -> None:
        """Delete an image of `owner` for ever; return when this replica no longer shows it.

        Raises:
            ImageNotFoundError: There is none of its with this id.
            UnavailableError: Nothing was deleted; the same request may succeed later.
            OutcomeUnknownError: It may or may not have been deleted, or is not yet hidden here.
        """
        # A feed that is stopped still serves images, but would not apply the deletion.
        self._feed.require_caught_up()
        try:
            found = await self._finder.find_own(image_id, owner)
        except ImageGoneError:
            # Deleted before, unless it has expired while it is still listed.
            if (listed := await self._catalog.entry(image_id)) is None:
                return
            deletion = await deletion_of(self._log, self._catalog, listed)
        except RecordDamagedError:
            # Its record cannot be read, but its id is known to be right.
            listed = await self._catalog.entry(image_id)
            if listed is None or not owner.owns(listed.info.owner):
                raise
            deletion = await deletion_of(self._log, self._catalog, listed)
        else:
            listed = await self._catalog.entry(image_id)
            info, former_ids = found.info, listed.former_ids if listed else ()
            token = await self._catalog.token_of(found.image_id)
            deletion = ImageDeleted(
                found.image_id,
                info.owner,
                info.visibility,
                found.head.claim,
                former_ids,
                info.source,
                token,
            )
        keys = await keys_of(self._catalog, [deletion.image_id])
        event = self._signatures.sign(EVENTS, encode(deletion))
        [position] = await self._log.append(EVENTS, [event])
        await erase(self._log, keys)
        if not await self._feed.applied_within(position.offset, self._apply_seconds):
            raise OutcomeUnknownError("The deletion is stored; this replica has yet to apply it.")
