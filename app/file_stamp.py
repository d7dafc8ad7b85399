"""The stamp of a file: what is another after the file was changed or replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Stamp = tuple[int, int, int] | None


def stamp_of(file: Path) -> Stamp:
    """Return time of change, size and inode of a file; None if it cannot be looked at."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
