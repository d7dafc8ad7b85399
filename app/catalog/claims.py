"""The uses of upload links, as events have claimed them: rows of the catalog.

Hides how long they are remembered: by the log's clock alone, so that every replica decides alike,
and a catalog that is rebuilt as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from app.records.claim import Claim

SCHEMA = """
CREATE TABLE claims (
    link TEXT PRIMARY KEY, uses INTEGER NOT NULL, expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_by_expiry ON claims (expires_at);
"""
# After the link has ended. An upload that began before may still come (`app.ingest.claims`), and
# the clocks of gateways and brokers may differ.
_KEPT_SECONDS = 86_400


def take(connection: sqlite3.Connection, claim: Claim, timestamp_ms: int) -> bool:
    """Count a claim, and tell whether the link had a use left for it."""
    oldest = timestamp_ms // 1000 - _KEPT_SECONDS
    connection.execute("DELETE FROM claims WHERE expires_at < ?", (oldest,))
    if claim.expires_at < oldest:
        # Its count may be forgotten.
        return False
    taken = connection.execute(
        "INSERT INTO claims (link, uses, expires_at) VALUES (?1, 1, ?2)"
        " ON CONFLICT (link) DO UPDATE SET uses = uses + 1 WHERE uses < ?3",
        (claim.link, claim.expires_at, claim.uses),
    )
    return taken.rowcount > 0


def clear(connection: sqlite3.Connection) -> None:
    """Forget every claim."""
    connection.execute("DELETE FROM claims")
