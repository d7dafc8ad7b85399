"""The text that a worker's libraries write to standard error.

Hides a pipe into the gateway's log. What comes through it is read, so that a library that talks
does not wait; the first part is kept until the image is done, and logged with its request. A worker
that talks without end waits until it is given up.
"""

from __future__ import annotations

import asyncio
import os

import structlog

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_MAX_CHARACTERS = 2_000
# As much as a pipe holds.
_READ_BYTES = 65_536
# A thousand times what a damaged TIFF makes libtiff say; read in 10 ms.
_MAX_READ_BYTES = 10_000_000


class Said:
    """The gateway's end of a pipe, and the end for the worker, which its spawner closes."""

    def __init__(self) -> None:
        self._pipe, self.theirs = os.pipe()
        os.set_blocking(self._pipe, False)
        self._loop = asyncio.get_running_loop()
        self._listen()

    def log(self, task: str, **context: object) -> None:
        """Log what was said since the last time, if anything was.

        Args:
            task: The task that the worker was in.
            context: More fields of the event.
        """
        if self._pipe < 0:
            return
        self._read()
        text = printable(self._kept.decode("utf-8", "replace")).strip()
        if text:
            logger.warning("codec_worker_said", task=task, text=text, **context)
        if self._read_bytes:
            self._listen()

    def close(self) -> None:
        """Close the gateway's end."""
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _listen(self) -> None:
        self._kept, self._read_bytes = b"", 0
        self._loop.add_reader(self._pipe, self._read)

    def _read(self) -> None:
        try:
            piece = os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return
        self._kept = (self._kept + piece)[:_MAX_CHARACTERS]
        self._read_bytes += len(piece)
        if not piece or self._read_bytes > _MAX_READ_BYTES:  # the worker has ended, or never ends
            self._loop.remove_reader(self._pipe)


def printable(text: str, *, keep: str = "") -> str:
    """Return text that a terminal shows and does not obey; a space for each other character."""
    return "".join(each if each.isprintable() or each in keep else " " for each in text)
