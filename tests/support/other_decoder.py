"""Pictures as another decoder sees them: libvips, with ImageMagick for BMP.

Pillow cannot find its own mistakes. Where libvips is not installed, `IS_INSTALLED` is false.
"""

import io
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from typing import NamedTuple

from PIL import Image, ImageChops, ImageFilter, ImageOps, ImageStat

from tests.support import vips
from tests.support.vips import RefusedError

IS_INSTALLED = vips.NAME is not None
_PNG, _ORIENTATION = b"\x89PNG", 0x0112
_BLOCK = 8


class Seen(NamedTuple):
    """A picture in sRGB, upright, all frames below each other, and the facts of its animation."""

    picture: Image.Image
    facts: dict


class OtherDecoder:
    """The decoder's process, started anew where a file has ended it."""

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process:
            with self._process:
                self._process.kill()

    def see(self, data: bytes, *, in_srgb=True) -> Seen:
        """Decode a file.

        Args:
            data: The file.
            in_srgb: Whether colours are those that its profile means; else the samples.

        Raises:
            RefusedError: The decoder does not take it, finds it damaged, or ends at it.
        """
        answer = self._ask(data, in_srgb)
        if isinstance(answer, str):
            raise RefusedError(answer)
        png, facts = answer
        with Image.open(io.BytesIO(png)) as picture:
            return Seen(_upright(picture.convert("RGBA"), data), facts)

    def _ask(self, *question):
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", vips.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"VIPS_WARNING": "1"},
            )
        try:
            pickle.dump(question, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)  # noqa: S301 - our own process
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            with self._process as ended:
                self._process = None
            return f"it ended with {ended.returncode}"


def _upright(picture, data):
    """Turn a PNG as its EXIF says, where libvips has not read it: libexif takes few blocks there.

    Where it has, the orientation in what it gives is 1.
    """
    at = data.find(b"eXIf")
    if data[:4] != _PNG or at < 0 or _ORIENTATION in picture.getexif():
        return picture
    block = Image.Exif()
    with suppress(Exception):  # damaged: as if there were none
        block.load(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])])
        picture.getexif()[_ORIENTATION] = block.get(_ORIENTATION, 1)
    return ImageOps.exif_transpose(picture)


def difference(before: Seen, after: Seen, most: float, *, coarsely=False) -> str:
    """Say what is not the same of two pictures; nothing where all is.

    Args:
        before: The upload.
        after: What is stored of it.
        most: Mean difference of colours before black and white, and so of alpha, that is allowed.
        coarsely: Whether blocks are compared in place of pixels, as noise may go.
    """
    if before.facts != after.facts:
        return f"{before.facts} became {after.facts}"
    if before.picture.size != after.picture.size:
        return f"{before.picture.size} became {after.picture.size}"
    distances = [
        each
        for colour in ("black", "white")
        for each in _distances(before.picture, after.picture, colour, coarsely)
    ]
    return f"colours differ by {distances}" if max(distances) > most else ""


def busyness(picture: Image.Image) -> float:
    """Return how far pixels are from those beside them: 10 for a photo, 100 for coloured noise."""
    flat = picture.convert("RGB")
    blurred = flat.filter(ImageFilter.BoxBlur(1))
    return max(ImageStat.Stat(ImageChops.difference(flat, blurred)).mean)


def _distances(before, after, colour, coarsely):
    shown = []
    for picture in (before, after):
        background = Image.new("RGBA", picture.size, colour)
        flat = Image.alpha_composite(background, picture).convert("RGB")
        shown.append(flat.reduce(_BLOCK) if coarsely else flat)
    return [round(mean, 2) for mean in ImageStat.Stat(ImageChops.difference(*shown)).mean]
