"""Keys that no listed image names, and how far `image-keys` was read: rows of the catalog.

Hides how an erasure that a crash cut short is found: a key is loose from the deletion of its image
on, or from when it was read and no image named it, until a tombstone is read. A tombstone goes by
the random bytes of an address, whatever its offset, so keys are told apart by these alone.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from app.log import Position
from app.records.address import Address

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

SCHEMA = """
CREATE TABLE loose_keys (
    cookie BLOB PRIMARY KEY, offset INTEGER NOT NULL, due_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX loose_keys_by_offset ON loose_keys (offset);
CREATE TABLE key_scan (
    next_offset INTEGER NOT NULL, newest_ms INTEGER NOT NULL, erased_ms INTEGER NOT NULL
);
"""
# A deletion is followed by its tombstone at once; this long after, the gateway has died in between.
GRACE_MS = 60_000
# An upload takes seconds from its key to its event. What has none after a day never will.
ORPHAN_MS = 86_400_000

_NAMED = "SELECT 1 FROM sealed WHERE key_cookie = cookie"
DUE = (
    "SELECT cookie, offset FROM loose_keys WHERE due_ms <= ? AND offset > ?"  # noqa: S608
    f" AND NOT EXISTS ({_NAMED}) ORDER BY offset LIMIT ?"
)
FIRST_DUE = "SELECT min(due_ms) FROM loose_keys"
SCAN = "SELECT next_offset, newest_ms, erased_ms FROM key_scan"


@dataclass(frozen=True, slots=True)
class KeyScan:
    """How far `image-keys` was read.

    Args:
        next_offset: The offset of the next record.
        newest_ms: The time of the newest record, by the log's clock.
        erased_ms: That of the newest tombstone of a key.
    """

    next_offset: int = 0
    newest_ms: int = 0
    erased_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReadKey:
    """A record of `image-keys` that was read: a key, or the tombstone of one."""

    where: Address
    timestamp_ms: int
    is_tombstone: bool


def address_of(row: tuple[Any, ...]) -> Address:
    """Return the address in a row of `DUE`."""
    cookie, offset = row
    return Address(Position(0, offset), cookie)


def release(connection: sqlite3.Connection, image_ids: Iterable[str], timestamp_ms: int) -> None:
    """Note that the keys of these images are to be erased, as of a time."""
    connection.executemany(
        "INSERT INTO loose_keys SELECT key_cookie, key_offset, ?2 FROM sealed"
        " WHERE image_id = ?1 AND key_cookie IS NOT NULL"
        " ON CONFLICT (cookie) DO UPDATE SET due_ms = min(due_ms, excluded.due_ms)",
        [(each, timestamp_ms + GRACE_MS) for each in image_ids],
    )


def add(connection: sqlite3.Connection, where: Address, due_ms: int) -> None:
    """Note that a key is to be erased from a time on, unless an image names it then."""
    connection.execute(
        "INSERT INTO loose_keys VALUES (?, ?, ?)"
        " ON CONFLICT (cookie) DO UPDATE SET due_ms = min(due_ms, excluded.due_ms)",
        (where.cookie, where.position.offset, due_ms),
    )


def forget(connection: sqlite3.Connection, keys: Iterable[Address]) -> None:
    """Note that keys are erased."""
    connection.executemany(
        "DELETE FROM loose_keys WHERE cookie = ?", [(each.cookie,) for each in keys]
    )


def forget_named(connection: sqlite3.Connection) -> None:
    """Forget keys that a listed image names: its event came after its key was read."""
    connection.execute(f"DELETE FROM loose_keys WHERE EXISTS ({_NAMED})")  # noqa: S608 - constants


def read(connection: sqlite3.Connection, keys: Iterable[ReadKey], reached: KeyScan) -> None:
    """Note records of `image-keys`, in their order, and how far it was read with them."""
    for each in keys:
        if each.is_tombstone:
            forget(connection, [each.where])
        elif not _is_named(connection, each.where):
            add(connection, each.where, each.timestamp_ms + ORPHAN_MS)
    connection.execute("DELETE FROM key_scan")
    connection.execute("INSERT INTO key_scan VALUES (?, ?, ?)", astuple(reached))


def clear(connection: sqlite3.Connection) -> None:
    """Forget all of them, and begin to read with the first."""
    connection.execute("DELETE FROM loose_keys")
    connection.execute("DELETE FROM key_scan")


def _is_named(connection: sqlite3.Connection, where: Address) -> bool:
    named = "SELECT 1 FROM sealed WHERE key_cookie = ?"
    return connection.execute(named, (where.cookie,)).fetchone() is not None
