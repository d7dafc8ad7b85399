"""The export of a log: each image a file, whole and on the disk before its group goes on.

Hides what an export remembers: its group, and what is known of the log, in a folder beside the
images. So it goes on where it was ended, however that was.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from app.errors import (
    ConfigurationError,
    GatewayError,
    ImageGoneError,
    KeyUnavailableError,
    LogUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from app.reader.files import ImageFiles
    from app.reader.image import Image
    from app.reader.reader import ImageReader

logger = structlog.get_logger(__name__)

# The folder below the exported one, of what an export remembers.
STATE_NAME = ".imagegate-export"
_GROUP_NAME = "group"
# Of the digest of a source, in the name of its group.
_SOURCE_CHARACTERS = 16
# Between attempts to read an image while the log does not answer.
_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Counts:
    """Counts of images: written now, there before, deleted meanwhile, or not readable."""

    written: int = 0
    written_bytes: int = 0
    there: int = 0
    gone: int = 0
    failed: int = 0


class Export:
    """Saves the images of `reader` as `files`.

    Args:
        reader: An opened reader.
        files: Where to.
        since: Pass over images that were stored before; they count as handled.
        until: End before the first image that was stored at this time or later.
        on_image: Called after each image.

    Attributes:
        counts: What became of the images so far.
    """

    def __init__(
        self,
        reader: ImageReader,
        files: ImageFiles,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        on_image: Callable[[Image, Counts], None] = lambda _image, _counts: None,
    ) -> None:
        self._reader = reader
        self._files = files
        self._since = since
        self._until = until
        self._on_image = on_image
        self.counts = Counts()

    async def run(self) -> None:
        """Save every image, until the reader or the time ends it.

        Raises:
            ConfigurationError: The folder cannot be written.
            GatewayError: What comes next cannot be read.
        """
        async for image in self._reader:
            if self._until is not None and image.created_at >= self._until:
                # It was not handled: an export without an end begins with it.
                return
            if self._since is None or image.created_at >= self._since:
                await self._save(image)
                self._on_image(image, self.counts)

    async def _save(self, image: Image) -> None:
        while True:
            try:
                if await self._files.save(image):
                    self.counts.written += 1
                    self.counts.written_bytes += image.content_length
                else:
                    self.counts.there += 1
            except (LogUnavailableError, KeyUnavailableError) as error:
                if isinstance(error, KeyUnavailableError) and not error.is_away:
                    # Not passed over: with the key, the export goes on from here.
                    raise
                logger.warning("reader_waits", reason=error.reason)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            except ImageGoneError:
                self.counts.gone += 1
            except GatewayError as error:
                self.counts.failed += 1
                logger.error("export_failed", image_id=image.id, reason=error.reason)  # noqa: TRY400
            except OSError as error:
                raise ConfigurationError(
                    f"{error.filename or 'The folder'} cannot be written: {error.strerror}."
                ) from error
            return


def group_of_folder(state: Path, source: str | None = None) -> str:
    """Return the group of the export into a folder, which is new with it.

    That of the images of one source has come as far in those, and passes over no others.

    Raises:
        ConfigurationError: The folder cannot be written.
    """
    path = state / _GROUP_NAME
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            part = path.with_suffix(".part")
            with part.open("w") as file:
                file.write(f"imagegate-export-{secrets.token_hex(8)}\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        group = path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"{state} cannot be written: {error.strerror}.") from error
    if source is None:
        return group
    return f"{group}.{hashlib.sha256(source.encode()).hexdigest()[:_SOURCE_CHARACTERS]}"
