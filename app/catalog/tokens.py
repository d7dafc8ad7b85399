"""The idempotency tokens of uploads, and the images that lost one: rows of the catalog.

Hides which upload under a token is its image: the first event with it, and none that comes within
the lifetime of the token after it, by the timestamps that the log gave both events. So every
replica decides alike, and a catalog that is rebuilt as before. Tokens whose time is long over leave
with the next one.

An image that lost is as a deleted one at once. Its bytes are still in the log until a gateway has
deleted it there (`app.changes.sweep`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.catalog import images, loose_keys
from app.events.event import ImageDeleted
from app.events.idempotency import LIFETIME_MS, FormerToken
from app.imaging.info import Visibility
from app.records.address import Address

if TYPE_CHECKING:
    import sqlite3

    from app.events.event import ImageStored

SCHEMA = """
CREATE TABLE tokens (
    token TEXT PRIMARY KEY, image_id TEXT NOT NULL, stored_at_ms INTEGER NOT NULL,
    fingerprint TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_by_time ON tokens (stored_at_ms);
CREATE INDEX tokens_of_image ON tokens (image_id);
CREATE TABLE lost (
    image_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, is_deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX lost_and_there ON lost (sequence) WHERE NOT is_deleted;
"""
# The clocks of brokers may differ, and time may step back where another one leads.
_KEPT_MS = 2 * LIFETIME_MS
# The columns that `holder_of` reads, for a token at a time in Unix milliseconds.
HOLDER = (
    "SELECT image_id, fingerprint FROM tokens WHERE token = ?"  # noqa: S608 - a constant
    f" AND stored_at_ms > ? - {LIFETIME_MS}"
)
# The token of an image.
OF_IMAGE = "SELECT token, stored_at_ms FROM tokens WHERE image_id = ?"
# The columns that `deletion_of` reads: images that lost, and are not deleted in the log.
LOST = (
    "SELECT image_id, owner, visibility FROM lost JOIN deleted ON id = image_id"
    " WHERE NOT is_deleted ORDER BY sequence LIMIT ?"
)
ALL_LOST = "SELECT image_id, sequence FROM lost WHERE NOT is_deleted"
# The sequence of the event of an image that lost.
LOST_AT = "SELECT sequence FROM lost WHERE image_id = ?"


@dataclass(frozen=True, slots=True)
class Holder:
    """The image that has a token, and the fingerprint of its upload, as its event states it."""

    image_id: str
    fingerprint: str


def holder_of(row: tuple[Any, ...]) -> Holder:
    """Return what is in a row of `HOLDER`."""
    return Holder(*row)


def former_of(row: tuple[Any, ...]) -> FormerToken:
    """Return what is in a row of `OF_IMAGE`."""
    return FormerToken(*row)


def deletion_of(row: tuple[Any, ...]) -> ImageDeleted:
    """Return the event that deletes the image in a row of `LOST`.

    Its claim is no use of a link, so the event states none.
    """
    image_id, owner, visibility = row
    return ImageDeleted(image_id, owner or "", Visibility(visibility) if visibility else None)


def has_won(connection: sqlite3.Connection, event: ImageStored, timestamp_ms: int) -> bool:
    """Tell whether no other image has the token of an upload, which it may not have."""
    if event.idempotency is None:
        return True
    found = connection.execute(
        "SELECT 1 FROM tokens WHERE token = ? AND image_id != ? AND stored_at_ms > ?"
        " UNION ALL SELECT 1 FROM lost WHERE image_id = ?2",
        (event.idempotency.token, event.image_id, timestamp_ms - LIFETIME_MS),
    )
    return found.fetchone() is None


def take(connection: sqlite3.Connection, event: ImageStored, timestamp_ms: int) -> None:
    """Give the token of an upload that has won to its image."""
    if event.idempotency is not None:
        token, fingerprint = event.idempotency.token, event.idempotency.fingerprint
        _take(connection, token, event.image_id, timestamp_ms, fingerprint, timestamp_ms)


def take_deleted(connection: sqlite3.Connection, event: ImageDeleted, timestamp_ms: int) -> None:
    """Give a token to its image, of which the log has nothing but that it was deleted."""
    former = event.former_token
    if former is not None and former.stored_at_ms > timestamp_ms - LIFETIME_MS:
        stored_at_ms = min(former.stored_at_ms, timestamp_ms)
        _take(connection, former.token, event.image_id, stored_at_ms, "", timestamp_ms)


def _take(
    connection: sqlite3.Connection,
    token: str,
    image_id: str,
    stored_at_ms: int,
    fingerprint: str,
    timestamp_ms: int,
) -> None:
    connection.execute("DELETE FROM tokens WHERE stored_at_ms <= ?", (timestamp_ms - _KEPT_MS,))
    connection.execute(
        "INSERT INTO tokens (token, image_id, stored_at_ms, fingerprint) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (token) DO UPDATE SET image_id = excluded.image_id,"
        " stored_at_ms = excluded.stored_at_ms, fingerprint = excluded.fingerprint"
        " WHERE stored_at_ms <= ?",
        (token, image_id, stored_at_ms, fingerprint, timestamp_ms - LIFETIME_MS),
    )


def lose(
    connection: sqlite3.Connection, sequence: int, event: ImageStored, timestamp_ms: int
) -> None:
    """Remember for ever that an image has lost its token, and delete it here."""
    connection.execute(
        "INSERT OR IGNORE INTO lost (image_id, sequence) VALUES (?, ?)", (event.image_id, sequence)
    )
    info = event.info
    deletion = ImageDeleted(event.image_id, info.owner, info.visibility)
    images.delete(connection, deletion, timestamp_ms)
    if event.sealing is not None and isinstance(event.sealing.key, Address):
        loose_keys.add(connection, event.sealing.key, timestamp_ms + loose_keys.GRACE_MS)


def note_deleted(connection: sqlite3.Connection, image_id: str) -> bool:
    """Note that the log says that an image is deleted; tell whether it is one that lost."""
    found = connection.execute("UPDATE lost SET is_deleted = 1 WHERE image_id = ?", (image_id,))
    return found.rowcount > 0


def forget(connection: sqlite3.Connection, image_id: str) -> None:
    """Take its token from an image that no gateway announced."""
    connection.execute("DELETE FROM tokens WHERE image_id = ?", (image_id,))


def clear(connection: sqlite3.Connection) -> None:
    """Forget every token, and who lost one."""
    connection.execute("DELETE FROM tokens")
    connection.execute("DELETE FROM lost")
