"""The examination of the embedded log's database, without starting the log."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from app.log.findings import Finding, Level

if TYPE_CHECKING:
    from pathlib import Path

_SUBJECT = "log"
# Other errors are not the file's fault: https://www.sqlite.org/rescode.html.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# The low byte of an extended result code.
_PRIMARY_CODE = 0xFF


def examine(path: Path) -> list[Finding]:
    """Examine the database, which a gateway may be using; blocks for as long as reading it."""
    if not path.exists():
        return [Finding(Level.OK, _SUBJECT, f"the first start creates {path}")]
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
