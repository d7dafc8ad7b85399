"""Lossless optimizers of JPEG and PNG, if the extra `codecs` is installed.

Hides oxipng, and MozJPEG's entropy coding of the same coefficients. Both get files that were
checked, with the metadata that stays: MozJPEG repairs a truncated file in silence. Where damaged
coefficients are out of range, it ends the process.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from app.imaging.containers.png_chunks import with_heeded

_MOZJPEG, _OXIPNG = "mozjpeg_lossless_optimization", "oxipng"
mozjpeg: Any = import_module(_MOZJPEG) if find_spec(_MOZJPEG) else None
oxipng: Any = import_module(_OXIPNG) if find_spec(_OXIPNG) else None


def optimized_jpeg(data: bytes) -> bytes | None:
    """Return a JPEG in fewer bytes; None for damage that decoders pass over."""
    try:
        optimized: bytes = mozjpeg.optimize(data, mozjpeg.COPY_MARKERS.ALL)
    except ValueError:
        return None
    return optimized


def optimized_png(data: bytes, level: int) -> bytes | None:
    """Return a PNG in fewer bytes, at one of oxipng's levels, 0 to 6.

    None where it has damage: oxipng checks other chunks too, and metadata that stays may have it.
    """
    try:
        optimized: bytes = oxipng.optimize_from_memory(with_heeded(data), level=level)
    except oxipng.PngError:
        return None
    return optimized
