"""Smaller files of the same pixels, where the extras for it are installed.

Hides MozJPEG's re-packing of coefficients and oxipng. Both get files that were checked, with the
metadata that stays: MozJPEG repairs a truncated file in silence. Where damaged coefficients are
out of range it ends the process, which is the worker's alone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from app.imaging.picture import Candidate

_MOZJPEG, _OXIPNG = "mozjpeg_lossless_optimization", "oxipng"
mozjpeg: Any = import_module(_MOZJPEG) if find_spec(_MOZJPEG) else None
oxipng: Any = import_module(_OXIPNG) if find_spec(_OXIPNG) else None

_OXIPNG_LEVEL = 2
"""Of 0 to 6: level 4 saves a percent more in four times the time."""

_MAX_JPEG_BYTES = 12_000_000
"""At some 3 MB/s, within half of the deadline."""

MAX_PNG_PIXELS = 8_000_000
"""At up to a second a megapixel, within the deadline for one image."""


def optimized(file: Candidate) -> list[Candidate]:
    """Return a JPEG or PNG packed better; segments, colours and everything else stay."""
    small = len(file.data) <= _MAX_JPEG_BYTES
    if file.image_format is ImageFormat.JPEG and mozjpeg is not None and small:
        with suppress(ValueError):  # that is what it says of damage which decoders pass over
            data = mozjpeg.optimize(file.data, mozjpeg.COPY_MARKERS.ALL)
            return [replace(file, data=data, codec="mozjpeg lossless", exact=True)]
    pixels = file.size[0] * file.size[1]
    if file.image_format is ImageFormat.PNG and oxipng is not None and pixels <= MAX_PNG_PIXELS:
        # It checks what the picture does not need, too: metadata that stays may be damaged.
        with suppress(oxipng.PngError):
            data = oxipng.optimize_from_memory(file.data, level=_OXIPNG_LEVEL)
            return [replace(file, data=data, codec=f"oxipng {_OXIPNG_LEVEL}", exact=True)]
    return []
