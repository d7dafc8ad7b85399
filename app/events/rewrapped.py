"""The fact that the key of an image is in another record, wrapped by another sealing key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.records.stated_key import parse_address

if TYPE_CHECKING:
    from app.events.members import RewrappedMembers
    from app.records.address import Address


@dataclass(frozen=True, slots=True)
class ImageRewrapped:
    """The key of an image, which was in the record `old`, is in `new` from now on."""

    image_id: str
    old: Address
    new: Address

    def data(self) -> dict[str, str]:
        """Return the event's `data`."""
        return {"from": str(self.old), "to": str(self.new)}


def parse(image_id: str, members: RewrappedMembers) -> ImageRewrapped:
    """Read the event about an image.

    Raises:
        ValueError: It names no records of keys.
    """
    places = members.data
    return ImageRewrapped(image_id, parse_address(places.old), parse_address(places.new))
