"""jpegli: an encoder of JPEG that needs a third fewer bytes for the same quality, if installed.

Hides that `pyjpegli`, an extra, takes packed RGB and nothing else: the colour profile is put in
afterwards, as its segments.

Source: https://github.com/google/jpegli; ICC.1:2022, annex B.4 (profiles in JPEG).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

pyjpegli: Any = import_module("pyjpegli") if find_spec("pyjpegli") else None
AVAILABLE = pyjpegli is not None

_SOI_BYTES = 2
_MARKER = b"\xff\xe2"
_NAME = b"ICC_PROFILE\0"
# A segment's length has 16 bits and counts itself, the name, a number and a count.
_PIECE_BYTES = 65_535 - 2 - len(_NAME) - 2
_MAX_PIECES = 255


def encode(image: Image, quality: int, icc_profile: bytes | None) -> bytes:
    """Encode an image of mode RGB.

    Raises:
        ValueError: The profile is too large for a JPEG.
    """
    data: bytes = pyjpegli.encode(image.tobytes(), image.width, image.height, quality=quality)
    return _with_profile(data, icc_profile) if icc_profile else data


def _with_profile(data: bytes, profile: bytes) -> bytes:
    pieces = [profile[at : at + _PIECE_BYTES] for at in range(0, len(profile), _PIECE_BYTES)]
    if len(pieces) > _MAX_PIECES:
        raise ValueError("the colour profile is too large")
    at = _SOI_BYTES
    if data[at : at + 2] == b"\xff\xe0":  # JFIF comes first
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    segments = (
        _MARKER
        + (len(_NAME) + len(piece) + 4).to_bytes(2)
        + _NAME
        + bytes((number, len(pieces)))
        + piece
        for number, piece in enumerate(pieces, start=1)
    )
    return b"".join((data[:at], *segments, data[at:]))
