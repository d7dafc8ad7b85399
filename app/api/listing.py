"""A page of the list of images, read and encoded in small pieces.

Hides how a page of 1,000 images holds nobody up: other requests are answered between its pieces,
and only a few are made at a time. A catalog that changes meanwhile is listed as it is found piece
by piece: no image comes twice, and one that is deleted by then is missing.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.api import revalidated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.api.encoded import EncodedImages
    from app.catalog.catalog import Catalog

# Images read and encoded in one go: 1.4 ms of the event loop where none is in the cache.
_PIECE = 20
# The catalog has four readers: two are left for queries about one image.
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Page:
    """The JSON of each image of a page, and the sequence number of the last one if more follow."""

    images: list[bytes]
    last: int | None


class Listing:
    """Makes pages of the images in `catalog`."""

    def __init__(self, catalog: Catalog, encoded: EncodedImages) -> None:
        self._catalog = catalog
        self._encoded = encoded
        # First come, first served: after each piece, a page stands behind those that wait.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def page(
        self, limit: int, before: int | None, owner: str | None = None, source: str | None = None
    ) -> Page:
        """Return up to `limit` images in descending order of sequence, below `before`.

        With an `owner`, only its own; with a `source`, only those from there.

        Raises:
            CatalogDamagedError: The file of the catalog is damaged.
        """
        made: list[bytes] = []
        while True:
            wanted = min(_PIECE, limit - len(made))
            async with self._turns:
                # One more than wanted tells whether more follow.
                found = await self._catalog.newest(wanted + 1, before, owner, source)
                made += map(self._encoded.encode, found[:wanted])
            if len(found) <= wanted:
                return Page(made, None)
            before = found[wanted - 1].sequence
            if len(made) == limit:
                return Page(made, before)


def length(page: Page, next_cursor: str | None) -> int:
    """Return the length of `body`."""
    separators = max(len(page.images) - 1, 0)
    return sum(map(len, page.images)) + separators + len(_HEAD) + len(_tail(next_cursor))


def tag(page: Page, next_cursor: str | None) -> str:
    """Return the entity tag of `body`: 1 ms for 1,000 images."""
    return revalidated.tag_of([*page.images, _tail(next_cursor)])


async def body(page: Page, next_cursor: str | None) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of an `ImagePage`, piece by piece.

    A client that is slow holds the JSON that the cache has, not a copy of it.
    """
    before = _HEAD
    for start in range(0, len(page.images), _PIECE):
        yield before + b",".join(page.images[start : start + _PIECE])
        before = b","
    yield (b"" if page.images else _HEAD) + _tail(next_cursor)


_HEAD = b'{"images":['


def _tail(next_cursor: str | None) -> bytes:
    return b'],"next_cursor":' + json.dumps(next_cursor).encode() + b"}\n"
