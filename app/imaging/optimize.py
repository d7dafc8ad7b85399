"""Smaller files of the same pixels, where the extras for it are installed.

Hides MozJPEG's re-packing of coefficients and oxipng. Both get files that were checked and whose
metadata is gone: MozJPEG repairs a truncated file in silence, and would drop the orientation.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

_MOZJPEG, _OXIPNG = "mozjpeg_lossless_optimization", "oxipng"
mozjpeg: Any = import_module(_MOZJPEG) if find_spec(_MOZJPEG) else None
oxipng: Any = import_module(_OXIPNG) if find_spec(_OXIPNG) else None

_OXIPNG_LEVEL = 2
"""Of 0 to 6: level 4 saves a percent more in four times the time."""

MAX_PNG_PIXELS = 8_000_000
"""At up to a second a megapixel, within the deadline for one image."""


def jpeg(data: bytes) -> tuple[bytes, str] | None:
    """Pack the coefficients of a JPEG better; every segment stays."""
    if mozjpeg is None:
        return None
    return mozjpeg.optimize(data, mozjpeg.COPY_MARKERS.ALL), "mozjpeg lossless"


def png(data: bytes) -> tuple[bytes, str] | None:
    """Choose filters, colour type and bit depth of a PNG better; its colours stay."""
    if oxipng is None:
        return None
    return oxipng.optimize_from_memory(data, level=_OXIPNG_LEVEL), f"oxipng {_OXIPNG_LEVEL}"
