"""The JSON of listed images, made once for everyone who asks.

Hides the cache behind that, up to a number of bytes. It knows nothing of deletions: callers ask for
images that the catalog has just listed, and an entry that nobody asks for again leaves first.
Making the JSON takes 70 µs, finding it 1 (Python 3.11, two busy cores).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from app.api import schemas

if TYPE_CHECKING:
    from app.catalog.images import CatalogImage
    from app.feed.feed import Feed

# The JSON of 9,000 images with their entries.
_MAX_BYTES = 8_000_000
# A key with its numbers, an entry, and the head of `bytes` (sys.getsizeof), rounded up.
_OVERHEAD_BYTES = 340

_Key = tuple[int, int, str, int]


class EncodedImages:
    """Encodes images of the catalog that `feed` follows."""

    def __init__(self, feed: Feed, max_bytes: int = _MAX_BYTES) -> None:
        self._feed = feed
        self._max_bytes = max_bytes
        self._bytes = 0
        self._encoded: OrderedDict[_Key, bytes] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """The memory that is used."""
        return self._bytes

    def encode(self, image: CatalogImage) -> bytes:
        """Return the JSON of an image that is listed."""
        # In another build of the catalog the same image may have another number or time.
        # And one that was locked has other properties once it is opened.
        key = (self._feed.epoch, image.sequence, image.id, hash(image.row))
        if (known := self._encoded.get(key)) is not None:
            self._encoded.move_to_end(key)
            return known
        made = schemas.listed(image).model_dump_json().encode()
        self._encoded[key] = made
        self._bytes += _OVERHEAD_BYTES + len(made)
        while self._bytes > self._max_bytes:
            _, oldest = self._encoded.popitem(last=False)
            self._bytes -= _OVERHEAD_BYTES + len(oldest)
        return made
