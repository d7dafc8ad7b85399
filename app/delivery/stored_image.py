"""An image that was found in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.imaging.info import ImageInfo
    from app.log import StoredRecord
    from app.records.address import Address
    from app.records.image import Head
    from app.records.seal import Seal


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that was found: its properties, and where its bytes are.

    If it is sealed, it has a `seal` only once it is unlocked, and no file name before that.
    Where the log `was_asked`, it had all chunks of it just now.
    """

    address: Address
    first: StoredRecord
    head: Head
    is_public: bool
    seal: Seal | None = None
    was_asked: bool = False

    @property
    def image_id(self) -> str:
        """The id that it has in this log."""
        return str(self.address)

    @property
    def chunk_bytes(self) -> int:
        """The size of a chunk: the stored bytes in each record but the last."""
        return self.head.chunk_bytes or max(self.info.stored_bytes, 1)

    @property
    def info(self) -> ImageInfo:
        """The properties of the image."""
        return self.head.info
