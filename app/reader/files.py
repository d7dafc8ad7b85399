"""Images as files in a folder, each whole or not there.

Hides how a file becomes whole at once: it is written under another name, flushed to the disk and
renamed, its side-car before it. And which names are safe on any file system: none of them is an
upload's own, none differs from another by the case of letters alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from app.reader.image import Image

_SUFFIXES = {
    ImageFormat.JPEG.content_type: ".jpg",
    ImageFormat.PNG.content_type: ".png",
    ImageFormat.WEBP.content_type: ".webp",
    ImageFormat.GIF.content_type: ".gif",
    ImageFormat.AVIF.content_type: ".avif",
    ImageFormat.HEIC.content_type: ".heic",
}
# No other is stored, but a writer to the topics may have said so.
_OTHER_SUFFIX = ".bin"
# Names of devices on Windows, with any suffix:
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?")
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
# A file system has 255 bytes or characters for a name, and Windows 260 for a path by default.
_MAX_CHARACTERS = 100
_DIGEST_CHARACTERS = 16
# No owner is written so: `~` is not a safe character.
_NO_OWNER = "~no-owner"


class Layout(StrEnum):
    """The folders of exported images."""

    FLAT = "flat"
    DATE = "date"
    OWNER = "owner"


class ImageFiles:
    """Writes images into `folder`, in a layout; `scratch` is a folder on the same file system."""

    def __init__(self, folder: Path, layout: Layout, scratch: Path) -> None:
        self._folder = folder
        self._layout = layout
        self._scratch = scratch
        # Those that are known to be on the disk.
        self._folders: set[Path] = set()

    def clear(self) -> None:
        """Remove what a process that was killed has left unfinished."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)

    async def save(self, image: Image) -> bool:
        """Write an image and its side-car, and return once both are on the disk.

        Returns:
            Whether it was written: one that is there already is left as it is.

        Raises:
            GatewayError: The image cannot be read; there is no file of it.
            OSError: The folder cannot be written.
        """
        place = self._folder / path_of(image, self._layout)
        sidecar = place.with_suffix(".json")
        if await asyncio.to_thread(_is_there, place, sidecar, image.content_length):
            return False
        part = self._scratch / place.name
        try:
            with part.open("wb") as file:
                async for piece in image.chunks():
                    file.write(piece)
                await asyncio.to_thread(_flush, file)
            facts = json.dumps(image.facts, indent=2, ensure_ascii=False).encode() + b"\n"
            await asyncio.to_thread(self._put, place, part, sidecar, facts)
        finally:
            part.unlink(missing_ok=True)
        return True

    def _put(self, place: Path, part: Path, sidecar: Path, facts: bytes) -> None:
        part_of_sidecar = self._scratch / sidecar.name
        with part_of_sidecar.open("wb") as file:
            file.write(facts)
            _flush(file)
        self._prepare(place.parent)
        part_of_sidecar.replace(sidecar)
        part.replace(place)
        _flush_folder(place.parent)

    def _prepare(self, folder: Path) -> None:
        if folder in self._folders:
            return
        if folder != self._folder:
            self._prepare(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        _flush_folder(folder.parent)
        self._folders.add(folder)


def path_of(image: Image, layout: Layout) -> PurePosixPath:
    """Return the path of an image's file, below the folder of all."""
    name = image.id + _SUFFIXES.get(image.content_type, _OTHER_SUFFIX)
    match layout:
        case Layout.FLAT:
            return PurePosixPath(name)
        case Layout.DATE:
            return PurePosixPath(image.created_at.strftime("%Y/%m/%d"), name)
        case Layout.OWNER:
            return PurePosixPath(folder_of(image.owner), name)


def folder_of(owner: str) -> str:
    """Return the name of an owner's folder: no two owners have one.

    Small letters, digits, `-`, `_` and `.` stay, and the bytes of all else are `%` and two digits.
    What would be too long, a device, or begin or end with a dot begins with a digest instead.
    """
    if not owner:
        return _NO_OWNER
    name = "".join(chr(each) if each in _SAFE else f"%{each:02x}" for each in owner.encode())
    if len(name) <= _MAX_CHARACTERS and not (_DEVICE.fullmatch(name) or name.strip(".") != name):
        return name
    digest = hashlib.sha256(owner.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{digest}~{name[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1].strip('.')}"


def _is_there(place: Path, sidecar: Path, length: int) -> bool:
    try:
        return place.stat().st_size == length and sidecar.exists()
    except FileNotFoundError:
        return False


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
