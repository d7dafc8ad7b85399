"""The statement of an image's key in its records: the key, wrapped, or the address of its record.

Hides the two headers. `imagegate-wrapped-key` is the data key itself, wrapped: it stays as long as
the record does. `imagegate-key` is the address of the record in `image-keys` that has it
(`app.records.key_record`), in the letters of an image's id: once that record is erased, the image
is noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.errors import ImageNotFoundError
from app.records import address
from app.records.address import Address
from app.sealing import wrapped_key
from app.sealing.wrapped_key import WrappedKey

if TYPE_CHECKING:
    from app.log import StoredRecord

WRAPPED_KEY = "imagegate-wrapped-key"
KEY = "imagegate-key"
# The lowest whose readers know of `image-keys`: others would call the record malformed, and go on.
ADDRESS_VERSION = 6

StatedKey = WrappedKey | Address


@dataclass(frozen=True, slots=True)
class ImageKey:
    """The data key of one image, and the statement of it in the image's records."""

    plain: bytes = field(repr=False)
    stated: StatedKey


def header_of(stated: StatedKey) -> tuple[str, bytes]:
    """Return the header that states a key."""
    name = KEY if isinstance(stated, Address) else WRAPPED_KEY
    return name, str(stated).encode()


def stated_in(record: StoredRecord) -> StatedKey | None:
    """Return the key that a record states; None if it states none.

    Raises:
        ValueError: The statement is malformed, or there are two.
    """
    wrapped, at = record.header(WRAPPED_KEY), record.header(KEY)
    if wrapped is not None and at is not None:
        raise ValueError(f"both {WRAPPED_KEY} and {KEY}")
    if at is not None:
        return parse_address(at.decode("ascii"))
    return None if wrapped is None else wrapped_key.parse(wrapped.decode("ascii"))


def parse_address(text: str) -> Address:
    """Read the address of a key record.

    Raises:
        ValueError: It is none. `image-keys` has one partition.
    """
    try:
        found = address.parse(text)
    except ImageNotFoundError as error:
        raise ValueError(f"{KEY}: no address") from error
    if found.position.partition != 0:
        raise ValueError(f"{KEY}: not in partition 0")
    return found
