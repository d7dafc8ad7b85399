"""Lossless optimizers of JPEG and PNG, if the extra `codecs` is installed.

Hides oxipng, and MozJPEG's entropy coding of the same coefficients. Both get files that were
checked, with the metadata that stays: MozJPEG repairs a truncated file in silence. Where damaged
coefficients are out of range, it ends the process, which is only a worker.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from app.imaging.containers.png_chunks import with_heeded
from app.imaging.formats import ImageFormat

if TYPE_CHECKING:
    from app.imaging.picture import Candidate

_MOZJPEG, _OXIPNG = "mozjpeg_lossless_optimization", "oxipng"
mozjpeg: Any = import_module(_MOZJPEG) if find_spec(_MOZJPEG) else None
oxipng: Any = import_module(_OXIPNG) if find_spec(_OXIPNG) else None

# Of oxipng's levels, 0 to 6, level 1 takes up to 0.45 s a megapixel, level 2 up to 1.1 s for 2 to
# 5 % less. Level 4 saves a percent more in four times the time. All within the deadline.
QUICK_LEVEL, EXACT_LEVEL = 1, 2
MAX_PNG_PIXELS = {QUICK_LEVEL: 4_200_000, EXACT_LEVEL: 8_000_000}

# At some 3 MB/s, within half of the deadline.
_MAX_JPEG_BYTES = 12_000_000


def can_optimize(image_format: ImageFormat) -> bool:
    """Tell whether a file of this format can be optimized here."""
    codecs = {ImageFormat.JPEG: mozjpeg, ImageFormat.PNG: oxipng}
    return codecs.get(image_format) is not None


def optimized(file: Candidate, pixels: int, level: int) -> list[Candidate]:
    """Return a JPEG or PNG in fewer bytes; segments, colours and everything else stay.

    Args:
        file: A whole file.
        pixels: Pixels of all its frames.
        level: Effort, for a PNG.
    """
    if not can_optimize(file.image_format):
        return []
    if file.image_format is ImageFormat.JPEG and len(file.data) <= _MAX_JPEG_BYTES:
        with suppress(ValueError):  # raised for damage that decoders pass over
            data = mozjpeg.optimize(file.data, mozjpeg.COPY_MARKERS.ALL)
            return [replace(file, data=data, codec="mozjpeg lossless", exact=True)]
    if file.image_format is ImageFormat.PNG and pixels <= MAX_PNG_PIXELS[level]:
        # oxipng checks other chunks too: metadata that stays may be damaged.
        with suppress(oxipng.PngError):
            data = oxipng.optimize_from_memory(with_heeded(file.data), level=level)
            return [replace(file, data=data, codec=f"oxipng {level}", exact=True)]
    return []
