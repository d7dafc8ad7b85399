"""What is right and wrong with the embedded log's database, looked at without starting it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from app.log.findings import Finding, Level

if TYPE_CHECKING:
    from pathlib import Path

_SUBJECT = "log"
# https://www.sqlite.org/rescode.html: whatever else is wrong is not the file's fault.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF  # the low byte of an extended result code


def examine(path: Path) -> list[Finding]:
    """Look at the database, which a gateway may be using; this takes as long as reading it."""
    if not path.exists():
        return [Finding(Level.OK, _SUBJECT, f"{path} is made by the first start")]
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            [said] = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        if error.sqlite_errorcode & _PRIMARY_CODE not in _DAMAGE:
            return [
                Finding(
                    Level.WRONG,
                    _SUBJECT,
                    f"{path} cannot be read: {error}",
                    "run this as the gateway's user, or end the program that locks it",
                )
            ]
        said = str(error)
    if said != "ok":
        return [
            Finding(
                Level.WRONG,
                _SUBJECT,
                f"{path} is damaged: {said}",
                "restore it from a backup, and look at the disk",
            )
        ]
    size_mb = path.stat().st_size / 1_000_000
    return [Finding(Level.OK, _SUBJECT, f"{path} is sound, {size_mb:,.1f} MB")]
