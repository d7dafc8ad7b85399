"""The lock of the data folder, which belongs to one process at a time.

Hides the kind of lock: flock(2), which the kernel releases after any death of the process.
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
LOCK_WAIT_SECONDS = 2.0
_LOCK_RETRY_SECONDS = 0.02
_FOLDER_MODE = 0o700
_LOCK_MODE = 0o600


class FolderLock:
    """Creates the folder, and locks it against every other process until the context ends.

    Entering blocks. Only leaving the context unlocks, not garbage collection: a
    thread that waits for the disk may still write. The descriptor closes on exec, so that codec
    workers do not hold the lock.

    Args:
        folder: The folder.
        wait_seconds: How long to wait for another process to release it.

    Raises:
        ConfigurationError: On entering: the folder is in use or cannot be written.
    """

    def __init__(self, folder: Path, wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        self._folder = folder
        self._wait_seconds = wait_seconds
        self._descriptor = -1

    def __enter__(self) -> None:
        descriptor = _open(self._folder)
        try:
            _lock(descriptor, self._folder, self._wait_seconds)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _open(folder: Path) -> int:
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _LOCK_MODE)
    except OSError as error:
        message = f"The folder {folder} cannot be written: {error.strerror}."
        raise ConfigurationError(message) from error


def _lock(descriptor: int, folder: Path, wait_seconds: float) -> None:
    try:
        _flock(descriptor, wait_seconds)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"The folder {folder} is in use by another imagegate process. Stop that process, or"
            " choose another folder for this one. Several gateways need Kafka, and a folder each."
        ) from error
    except OSError as error:
        message = f"The folder {folder} cannot be locked: {error.strerror}."
        raise ConfigurationError(message) from error


def _flock(descriptor: int, wait_seconds: float) -> None:
    give_up_at = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(_LOCK_RETRY_SECONDS)
        else:
            return
