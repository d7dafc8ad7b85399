"""The form of what passes between the gateway and a worker, the same in both directions.

    4 bytes   length of the head, big-endian
    8 bytes   length of the data, big-endian
    head      a JSON object, 64 KB at most
    data      raw bytes

A task's head is `{"task": name, "arguments": {…}}`, and its data the image. An answer's head is of
one of three kinds: `ready`, once after the start; `done`, with the properties of the data; and
`failed`, with the code of one of `ERRORS`. Nothing in a frame names code, so a decoder that was
taken over can lie, and no more than that.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from app.errors import (
    HeavyImageError,
    ImageLimitError,
    InternalError,
    InvalidImageError,
    OverloadedError,
    UnpackError,
    UnsupportedFormatError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTHS = struct.Struct(">IQ")
MAX_HEAD_BYTES = 65_536

# The errors that a worker may answer, by their code.
ERRORS = {
    error.code: error
    for error in (
        HeavyImageError,
        ImageLimitError,
        InternalError,
        InvalidImageError,
        OverloadedError,
        UnpackError,
        UnsupportedFormatError,
    )
}
# In JSON a character takes twelve bytes at the most: both together fit into a head.
MAX_DETAIL = 1_000
MAX_TRACE = 4_000


def pack_head(head: Mapping[str, object], data_bytes: int) -> bytes:
    """Return the beginning of a frame, up to its data.

    Raises:
        ValueError: The head is too large.
    """
    packed = json.dumps(head, separators=(",", ":")).encode()
    if len(packed) > MAX_HEAD_BYTES:
        raise ValueError(f"A head of {len(packed):,} bytes.")
    return LENGTHS.pack(len(packed), data_bytes) + packed
