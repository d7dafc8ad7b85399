"""The writing of an image's records into a log.

Hides their order: the record of the key, where images are shredded, then chunks 1…n-1, then the
head, which commits them. What is between is never part of an image.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import IMAGES, KEYS
from app.records.address import Address, new_cookie
from app.records.image import chunk_bytes, encoded_chunks, head_record, sealed_head
from app.records.key_record import key_record
from app.records.signature import NO_SIGNATURES, Signatures
from app.records.stated_key import ImageKey
from app.records.value import ValueEncoding
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.sealing.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.imaging.info import ImageInfo
    from app.log import Log, Position, Record
    from app.records.claim import Claim
    from app.sealing.wrapped_key import WrappedKey


@dataclass(frozen=True, slots=True)
class Written:
    """The address of an image whose records are in the log, and where its chunks are.

    If it is sealed, its event is sealed with the same `key`.
    """

    address: Address
    chunk_bytes: int
    chunks: tuple[Position, ...]
    key: ImageKey | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image of which the log has all but the `head`."""

    head: Record
    cookie: bytes
    chunk_bytes: int
    chunks: tuple[Position, ...]
    key: ImageKey | None

    def at(self, place: Position) -> Written:
        """Return the image once its head is at a place."""
        return Written(Address(place, self.cookie), self.chunk_bytes, self.chunks, self.key)


class ImageWriter:
    """Appends images to `log`, signed by `signatures`, their values in the form of `encoding`.

    They are sealed with keys of `keys`, if it has some for new images. If it `shreds`, each key is
    in a record of its own, which can be erased.
    """

    def __init__(
        self,
        log: Log,
        signatures: Signatures = NO_SIGNATURES,
        encoding: ValueEncoding = ValueEncoding.RAW,
        keys: DataKeys = NO_KEYS,
        *,
        shreds: bool = False,
    ) -> None:
        self._log = log
        self._signatures = signatures
        self._encoding = encoding
        self._keys = keys
        self._shreds = shreds

    async def write(
        self,
        data: bytes,
        info: ImageInfo,
        claim: Claim | None,
        deadline: float,
    ) -> Written:
        """Append the stored bytes of an image, at an address of its own.

        Raises:
            KeyUnavailableError, NotWrittenError: There is no image.
            OutcomeUnknownError: It may be there, without an event.
        """
        prepared = await self.prepare(data, info, claim, deadline)
        [place] = await self._log.append(IMAGES, [prepared.head], deadline)
        return prepared.at(place)

    async def prepare(
        self, data: bytes, info: ImageInfo, claim: Claim | None, deadline: float
    ) -> Prepared:
        """Append all of an image but its head.

        Raises:
            KeyUnavailableError, NotWrittenError: There is no image.
        """
        cookie, view = new_cookie(), memoryview(data)
        key, max_bytes = await self._new_key(deadline), self._log.max_record_bytes(IMAGES)
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
        return Prepared(head, cookie, size, tuple(places), key)

    async def _new_key(self, deadline: float) -> ImageKey | None:
        """Return the key of a new image, once it is in the log if it is to be there."""
        if (made := await self._keys.new()) is None:
            return None
        if not self._shreds:
            return ImageKey(made.plain, made.wrapped)
        try:
            [where] = await append_keys(self._log, self._signatures, [made.wrapped], deadline)
        except OutcomeUnknownError as error:
            # No head names the record, which a sweep removes later.
            raise NotWrittenError("The log did not acknowledge the image's key.") from error
        return ImageKey(made.plain, where)


async def append_keys(
    log: Log,
    signatures: Signatures,
    wrapped: Sequence[WrappedKey],
    deadline: float | None = None,
) -> list[Address]:
    """Append wrapped keys, each to a record of its own; return the addresses.

    Raises:
        NotWrittenError, OutcomeUnknownError: They cannot be used, though some may be there.
    """
    cookies = [new_cookie() for _ in wrapped]
    records = map(key_record, cookies, wrapped)
    places = await log.append(KEYS, [signatures.sign(KEYS, each) for each in records], deadline)
    return [Address(*each) for each in zip(places, cookies, strict=True)]
