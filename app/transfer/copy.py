"""One image, copied from one log into another.

Hides when a copy is one: the bytes that are read have the digest of the image, and what was written
is read back, by the way on which a gateway would read it, before an event announces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import DigestMismatchError, ImageNotFoundError
from app.events.event import ImageStored
from app.events.move import MAX_FORMER_IDS, Move

if TYPE_CHECKING:
    from app.catalog.images import CatalogImage
    from app.log import Log
    from app.reader.view import View
    from app.records.writer import ImageWriter


class Copier:
    """Copies images of `source` into `log`.

    Args:
        source: The log to read.
        log: The log to write.
        writer: Writes into `log`.
        target: What is known of `log`.
    """

    def __init__(self, source: View, log: Log, writer: ImageWriter, target: View) -> None:
        self._source = source
        self._log = log
        self._writer = writer
        self._target = target

    async def copy(self, image: CatalogImage) -> ImageStored:
        """Write the records of an image; return the event that is to announce it.

        Raises:
            ImageGoneError: It was deleted, or left the log, just now.
            DigestMismatchError: Its bytes are not those of its digest, or were not read back.
            NotWrittenError, OutcomeUnknownError: It was not written; no event names what was.
            GatewayError: It cannot be read.
        """
        former_ids = (*image.former_ids, image.id)
        if len(former_ids) > MAX_FORMER_IDS:
            raise ImageNotFoundError("It has been in too many logs.")
        found = await self._source.unlocked(await self._source.find(image.id))
        info, claim = found.info, found.head.claim
        data = await self._source.stored_bytes_of(found)
        written = await self._writer.write(data, info, claim, self._log.deadline())
        again = await self._target.look_at(written.address)
        if again.info != info or await self._target.stored_bytes_of(again) != data:
            raise DigestMismatchError("The log did not return what was written.")
        move = Move(former_ids, image.created_at_ms)
        return ImageStored(
            str(written.address),
            info,
            written.chunk_bytes,
            written.chunks,
            claim,
            move,
            written.key,
        )
