"""Files that an operator names: anything may be in their place, also while the gateway runs.

Hides that none of them holds the gateway up. To open a pipe takes until somebody writes to it: the
thread that reads certificates would wait for ever, and the end of the gateway for it.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


def opened(path: Path) -> BinaryIO:
    """Open a file to read; close it.

    Raises:
        OSError: It cannot be read, or is a pipe or the like.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return path.open("rb")


def read(path: Path, max_bytes: int) -> bytes:
    """Return what is in a file, or one byte more than `max_bytes` of what is.

    Raises:
        OSError: As `opened`.
    """
    with opened(path) as file:
        return file.read(max_bytes + 1)
