"""Digests of images and of their parts, by algorithms that the log does not have.

Hides that an image is read for its digest before it is sent, as headers come first: once for all
who ask meanwhile. That of a whole image never changes, and is remembered for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from app.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from app.delivery.delivery import Delivery
    from app.delivery.stored_image import StoredImage

# Some 200 bytes each.
_MOST = 2_000


class ImageDigests:
    """Makes digests of what `delivery` returns."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._readings: Readings[bytes] = Readings()
        self._known: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def of(
        self, image: StoredImage, new: Callable[[], _Hash], start: int, end: int, client: str
    ) -> bytes:
        """Return the digest of the bytes of an image from `start` up to `end`; raises as `open`."""
        made = new()
        key = (image.info.digest, made.name)
        is_whole = (start, end) == (0, image.info.content_length)
        if is_whole and (known := self._known.get(key)) is not None:
            return known
        read = partial(self._read, image, made, start, end, client)
        digest = await self._readings.once((image.image_id, made.name, start, end), read)
        if is_whole:
            self._known[key] = digest
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return digest

    async def _read(
        self, image: StoredImage, made: _Hash, start: int, end: int, client: str
    ) -> bytes:
        async with aclosing(await self._delivery.open(image, start, end, client)) as pieces:
            async for piece in pieces:
                made.update(piece)
        return made.digest()
