"""The deletion of everything that one principal owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.changes.deletion import append_deletions
from app.changes.shred import keys_of

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.log import Log
    from app.records.signature import Signatures

# Images deleted in one append.
_AT_ONCE = 100


@dataclass(slots=True)
class Forgotten:
    """The images that were deleted, their bytes as served, and how many were erased by keys."""

    images: int = 0
    bytes: int = 0
    erased: int = 0


async def forget(
    log: Log, catalog: Catalog, signatures: Signatures, owner: str, *, keep: bool = False
) -> Forgotten:
    """Append the deletion of each image of an owner that `catalog` lists, expired ones included.

    Args:
        log: The log.
        catalog: What is known of it.
        signatures: Sign the events.
        owner: The principal, as images name it.
        keep: Only count.

    Raises:
        NotWrittenError, OutcomeUnknownError: Not all were deleted; call it again.
    """
    forgotten, sequence = Forgotten(), -1
    while images := await catalog.of_owner(owner, sequence, _AT_ONCE):
        forgotten.erased += len(await keys_of(catalog, [each.id for each in images]))
        if not keep:
            await append_deletions(log, catalog, signatures, images)
        forgotten.images += len(images)
        forgotten.bytes += sum(each.info.content_length for each in images)
        sequence = images[-1].sequence
    return forgotten
