"""The text that a worker's libraries write to standard error.

Hides a pipe into the gateway's log. Whatever comes through it is read, so that a library that
talks does not wait; the first part is kept until the image is done, and logged with its request.
"""

from __future__ import annotations

import asyncio
import os

import structlog

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_MAX_CHARACTERS = 2_000
# As much as a pipe holds.
_READ_BYTES = 65_536


class Said:
    """The gateway's end of a pipe, and the end for the worker, which its spawner closes."""

    def __init__(self) -> None:
        self._pipe, self.theirs = os.pipe()
        os.set_blocking(self._pipe, False)
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pipe, self._read)

    def log(self, task: str) -> None:
        """Log what was said until now, if anything was."""
        self._read()
        kept, self._kept = self._kept, b""
        if text := printable(kept.decode("utf-8", "replace")).strip():
            context = structlog.contextvars.get_contextvars()
            logger.warning("codec_worker_said", task=task, text=text, **context)

    def close(self) -> None:
        """Close the gateway's end."""
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _read(self) -> None:
        try:
            piece = os.read(self._pipe, _READ_BYTES)
        except BlockingIOError:
            return
        self._kept = (self._kept + piece)[:_MAX_CHARACTERS]
        if not piece:  # the worker has ended
            self._loop.remove_reader(self._pipe)


def printable(text: str, *, keep: str = "") -> str:
    """Return text that a terminal shows and does not obey; a space for each other character."""
    return "".join(each if each.isprintable() or each in keep else " " for each in text)
