"""A file that only its owner can read, replaced as a whole: readers see the old or the new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MODE = 0o600


def write(path: Path, text: str) -> None:
    """Write a file of one text, on the disk when this returns; blocks.

    A link to a file stays one: others that read the file see the new text too.

    Raises:
        OSError: It cannot be written; the old one stays.
    """
    path = path.resolve()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
