"""The data folder belongs to one process at a time.

Hides how it is locked: by flock(2), which the kernel releases after any death of the process.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from app.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

LOCK_NAME = "imagegate.lock"
# A process that was killed keeps its locks until its last fsync returns (seen after kill -9).
_LOCK_WAIT_SECONDS = 2.0
_LOCK_RETRY_SECONDS = 0.02
_FOLDER_MODE = 0o700


def lock_folder(folder: Path) -> int:
    """Create the folder and lock it against every other process.

    The descriptor closes on exec, so that codec workers do not hold it.

    Returns:
        The descriptor; closing it unlocks the folder.

    Raises:
        ConfigurationError: The folder is in use or cannot be written.
    """
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"The data folder {folder} cannot be written: {error.strerror}."
        raise ConfigurationError(message) from error
    try:
        _flock(descriptor)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise ConfigurationError(
                f"The data folder {folder} is in use by another imagegate process. Stop that one,"
                " give this one a folder of its own, or use Kafka to run several."
            ) from error
        message = f"The data folder {folder} cannot be locked: {error.strerror}."
        raise ConfigurationError(message) from error
    return descriptor


def _flock(descriptor: int) -> None:
    give_up_at = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_LOCK_RETRY_SECONDS)
        else:
            return
