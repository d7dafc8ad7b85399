"""Lepton: a JPEG in a fifth fewer bytes, unpacked bit for bit, if installed.

Hides the codec. A file that would not be unpacked to the same bytes is not packed.

Source: https://github.com/microsoft/lepton_jpeg_rust.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from app.errors import UnpackError

CONTENT_ENCODING = "lepton"

lepton_jpeg: Any = import_module("lepton_jpeg_python") if find_spec("lepton_jpeg_python") else None

# Unpacked at 6 MB/s, a download takes 2 s.
MAX_BYTES = 12_000_000

# A partition for each thread makes the file 1 % larger, and a worker has one CPU.
_OPTIONS = {"max_partitions": 1}


def pack(data: bytes) -> bytes | None:
    """Pack a JPEG; None where that is not possible without loss."""
    if lepton_jpeg is None or len(data) > MAX_BYTES:
        return None
    try:
        packed: bytes = lepton_jpeg.compress_bytes(data, _OPTIONS)
        return packed if lepton_jpeg.decompress_bytes(packed) == data else None
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, MemoryError):
            raise
        return None


def unpack(packed: bytes, content_length: int, digest: str) -> bytes:
    """Return the JPEG of this length and this SHA-256, in hex.

    Raises:
        UnpackError: Lepton is not installed here, or did not pack this.
    """
    if lepton_jpeg is None:
        raise UnpackError("The image is packed with Lepton: this gateway lacks the extra archive.")
    try:
        data: bytes = lepton_jpeg.decompress_bytes(packed)
    except RuntimeError as error:
        raise UnpackError("The image cannot be unpacked.") from error
    if (len(data), hashlib.sha256(data).hexdigest()) != (content_length, digest):
        raise UnpackError("The unpacked image is not the one that was packed.")
    return data
