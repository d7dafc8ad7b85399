"""The versions of heads and chunks: each stops readers that are older than what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.imaging.info import Visibility
from app.records import seal
from app.records.value import ValueEncoding

if TYPE_CHECKING:
    from app.imaging.info import ImageInfo
    from app.records.claim import Claim

# The highest that is known; a head has the lowest that says what it says (`version_of`).
VERSION = 6


def version_of(info: ImageInfo, claimed: Claim | None) -> int:
    """Return the lowest version whose readers treat an image rightly.

    Those of version 1 serve it to everyone who has its id, and even if its claim does not count,
    those of version 4 for ever.
    """
    if info.expires_at is not None:
        return 5
    return 1 if info.visibility in (None, Visibility.PUBLIC) and claimed is None else 2


def version_of_values(encoding: ValueEncoding, *, sealed: bool = False) -> int:
    """Return the lowest version whose readers decode a value: others would serve the letters.

    Those of version 2 would call the image none of imagegate's, for its length.
    """
    if sealed:
        return seal.VERSION
    return 1 if encoding is ValueEncoding.RAW else 3
