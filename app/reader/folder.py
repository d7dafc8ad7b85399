"""The folder of a reader's catalog: one that stays, or a temporary one.

Hides that a process that was killed leaves its temporary folder, which the next one removes.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.data_folder import FolderLock
from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "imagegate-reader-"
# A folder is locked within milliseconds of its creation.
_YOUNG_SECONDS = 60


@contextmanager
def state_folder(given: str | Path | None) -> Iterator[Path]:
    """Provide the folder that was given, or a temporary one, which no other user can read."""
    if given is not None:
        yield Path(given)
        return
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _remove_abandoned() -> None:
    for each in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another user's, one that is in use, or one that another process removes just now.
        with suppress(OSError, ConfigurationError):
            if time.time() - each.stat().st_mtime > _YOUNG_SECONDS:
                with FolderLock(each, 0):
                    shutil.rmtree(each)
