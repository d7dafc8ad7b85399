"""The writing of an image's records into a log.

Hides their order: chunks 1…n-1, then the head, which commits them. What is between is never part of
an image.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import IMAGES
from app.records.address import Address, new_cookie
from app.records.image import chunk_bytes, encoded_chunks, head_record, sealed_head
from app.records.signature import NO_SIGNATURES, Signatures
from app.records.value import ValueEncoding
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.sealing.off_loop import off_loop

if TYPE_CHECKING:
    from app.imaging.info import ImageInfo
    from app.log import Append, Log, Position
    from app.records.claim import Claim
    from app.sealing.wrapped_key import DataKey


@dataclass(frozen=True, slots=True)
class Written:
    """The address of an image whose records are in the log, and where its chunks are.

    If it is sealed, its event is sealed with the same `key`.
    """

    address: Address
    chunk_bytes: int
    chunks: tuple[Position, ...]
    key: DataKey | None


class ImageWriter:
    """Appends images to `log`, signed by `signatures`, their values in the form of `encoding`.

    They are sealed with keys of `keys`, if it has some for new images.
    """

    def __init__(
        self,
        log: Log,
        signatures: Signatures = NO_SIGNATURES,
        encoding: ValueEncoding = ValueEncoding.RAW,
        keys: DataKeys = NO_KEYS,
    ) -> None:
        self._log = log
        self._signatures = signatures
        self._encoding = encoding
        self._keys = keys

    async def write(
        self,
        data: bytes,
        info: ImageInfo,
        claim: Claim | None,
        deadline: float,
        append: Append | None = None,
    ) -> Written:
        """Append the stored bytes of an image, at an address of its own.

        The head goes through `append` if there is one, and so together with heads of other images.

        Raises:
            KeyUnavailableError, NotWrittenError: There is no image.
            OutcomeUnknownError: It may be there, without an event.
        """
        cookie, view = new_cookie(), memoryview(data)
        key, max_bytes = await self._keys.new(), self._log.max_record_bytes(IMAGES)
        size = chunk_bytes(max_bytes, self._encoding, sealed=key is not None)
        sealed = sealed_head(cookie, info, size, claim, key) if key else None
        part_bytes = min(size, len(view)) if sealed else 0
        cut, chunks = encoded_chunks(cookie, view, size, self._encoding, sealed), []
        for _ in range(size, len(view), size):
            chunks.append(await off_loop(part_bytes, next, cut))
            # Base64 takes 1.2 ms a chunk.
            await asyncio.sleep(0)
        try:
            places = await self._log.append(IMAGES, chunks, deadline) if chunks else []
        except OutcomeUnknownError as error:
            # Chunks without a head are never part of an image: the outcome is known after all.
            lost = NotWrittenError("The log did not acknowledge a part of the image.")
            lost.settled = error.settled
            raise lost from error
        head = await off_loop(
            part_bytes, head_record, cookie, view, info, size, places, claim, self._encoding, sealed
        )
        head = self._signatures.sign(IMAGES, head)
        [place] = await (append or self._log.append)(IMAGES, [head], deadline)
        return Written(Address(place, cookie), size, tuple(places), key)
