"""A record in `image-keys`: the data key of one image, wrapped.

Hides its format, and how it is erased. The topic is compacted: a tombstone under the key of a
record removes it. So that key, twelve random bytes in hex, is of one attempt to append alone: a
second record under it would remove the first, which a head may name by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.log import Record
from app.records.address import COOKIE_BYTES
from app.records.stated_key import ADDRESS_VERSION
from app.sealing import wrapped_key

if TYPE_CHECKING:
    from app.log import StoredRecord
    from app.records.address import Address
    from app.sealing.wrapped_key import WrappedKey


def key_record(cookie: bytes, wrapped: WrappedKey) -> Record:
    """Return the record of a wrapped key."""
    headers = (("imagegate-version", b"%d" % ADDRESS_VERSION),)
    return Record(_key(cookie), str(wrapped).encode(), headers)


def tombstone(where: Address) -> Record:
    """Return the record that erases the key at an address."""
    return Record(_key(where.cookie), None)


def parse(value: bytes | None) -> WrappedKey:
    """Read the value of a record.

    Raises:
        ValueError: It holds no wrapped key.
    """
    return wrapped_key.parse((value or b"").decode("ascii"))


def is_short(record: StoredRecord) -> bool:
    """Tell whether a record is as short as that of a key, whatever it says."""
    return (
        len(record.key or b"") == 2 * COOKIE_BYTES
        and len(record.value or b"") <= wrapped_key.MAX_CHARACTERS
    )


def cookie_of(record: StoredRecord) -> bytes | None:
    """Return the random bytes in a record's key; None in a record that is no gateway's."""
    key = record.key or b""
    try:
        cookie = bytes.fromhex(key.decode("ascii"))
    except ValueError:
        return None
    return cookie if _key(cookie) == key and len(cookie) == COOKIE_BYTES else None


def _key(cookie: bytes) -> bytes:
    return cookie.hex().encode()
