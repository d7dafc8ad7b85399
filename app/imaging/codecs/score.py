"""Likeness of a stored picture to the upload: SSIMULACRA2, if installed.

Hides the metric. A part from the middle is compared, as the whole would take a second a megapixel:
100 is no difference, 90 an invisible one, 70 high and 50 medium quality.

Source: https://github.com/cloudinary/ssimulacra2.
"""

from __future__ import annotations

import io
from importlib import import_module
from importlib.util import find_spec

from PIL import Image

AVAILABLE = find_spec("ssimulacra2") is not None

SAME = 100.0

# A tenth of a second; over twelve photos within 2 points of the score of a megapixel of each.
SIDE = 256


def warm_up() -> None:
    """Load the metric, parts of which SciPy loads at their first use."""
    picture = Image.new("RGB", (64, 64))
    score(picture, picture)


def score(before: Image.Image, after: Image.Image, side: int = SIDE) -> float:
    """Compare two pictures, of which the second may be the smaller one.

    Args:
        before: The uploaded picture.
        after: The served picture.
        side: Side of the square in the middle that is compared, in pixels.
    """
    # NumPy and SciPy come with it: 60 MB a worker, but only where quality is measured.
    compute = import_module("ssimulacra2").compute_ssimulacra2
    original, served = before.convert("RGB"), after.convert("RGB")
    if original.size != served.size:
        original = original.resize(served.size, Image.Resampling.LANCZOS)
    files = [_middle(original, side), _middle(served, side)]
    return round(float(compute(*files)), 1)


def _middle(picture: Image.Image, side: int) -> io.BytesIO:
    left, top = (max((length - side) // 2, 0) for length in picture.size)
    right, bottom = min(left + side, picture.width), min(top + side, picture.height)
    file = io.BytesIO()
    picture.crop((left, top, right, bottom)).save(file, "PNG", compress_level=0)
    file.seek(0)
    return file
