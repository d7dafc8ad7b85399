"""The opening of events that could not be opened when they were applied.

Hides that they are read again, many in one go, and that one which turns out to be no gateway's is
rejected as if it had been opened at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import GatewayError
from app.events.opening import BROKEN, is_sealed, opened
from app.events.sequenced import sort
from app.log import EVENTS, StoredRecord
from app.log.many import read_many

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.catalog.catalog import Catalog
    from app.events.sequenced import SequencedEvent
    from app.events.trust import Trust
    from app.feed.dead_letters import DeadLetters
    from app.log import ReadableLog
    from app.records.address import Address
    from app.records.image_keys import ImageKeys


class LockedEvents:
    """Opens events of `log` whose images are locked in `catalog`, by `keys`."""

    def __init__(
        self,
        log: ReadableLog,
        catalog: Catalog,
        trust: Trust,
        keys: ImageKeys,
        dead_letters: DeadLetters,
    ) -> None:
        self._log = log
        self._catalog = catalog
        self._trust = trust
        self._keys = keys
        self._dead_letters = dead_letters

    async def open(self, locked: Mapping[int, Address | None]) -> bool:
        """Try to open events, by their sequences; tell whether any is not locked any more.

        With each is where the key of its image is now, unless the event says so.
        """
        read = await read_many(self._log, EVENTS, [*locked])
        # One that was deleted just now is gone. Where the topic was replaced, the follower notices.
        records = [each for each in read.values() if not isinstance(each, GatewayError)]
        # Where the topic was replaced just now, others may be there.
        sealed = [each for each in sort(records, self._trust).events if is_sealed(each)]
        stated = [locked[each.sequence] for each in sealed]
        found = []
        for before, each in zip(sealed, await opened(sealed, self._keys, stated), strict=True):
            if each is None:
                await self._reject(before, read[before.sequence])
            else:
                found.append(each)
        await self._catalog.unlock(found)
        return any(each.is_gone or not each.is_locked for each in found)

    async def _reject(self, event: SequencedEvent, record: StoredRecord | GatewayError) -> None:
        await self._catalog.reject(event)
        if isinstance(record, StoredRecord):
            await self._dead_letters.write({record: BROKEN})
