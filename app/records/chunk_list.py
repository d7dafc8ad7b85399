"""The list of an image's chunks, `chunk size,partition:offset,…`, in its head and in its event.

Hides the syntax, and how far a list is believed: it has to be the one that an image of this size
makes. So a list that anyone wrote costs a reader no more than a real one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.log import MAX_OFFSETS, MAX_PARTITIONS, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

# Gateways write 98,304 at least, as a topic has to allow records of 131,072; earlier ones wrote
# 30,000.
MIN_CHUNK_BYTES = 16_384
# Twice as many as the largest upload, 200 MB, makes in the smallest chunks.
MAX_CHUNKS = 4_096
_LIST = re.compile(r"[1-9][0-9]{0,8}(?:,(?:0|[1-9][0-9]{0,4}):(?:0|[1-9][0-9]{0,14}))+")


def write(chunk_bytes: int, chunks: Sequence[Position]) -> str:
    """Return the positions of chunks 1…n-1, each of `chunk_bytes` bytes but the last."""
    return ",".join([str(chunk_bytes), *map(str, chunks)])


def parse(text: str, stored_bytes: int) -> tuple[int, tuple[Position, ...]]:
    """Return the chunk size and the positions of chunks 1…n-1 of an image with so many bytes.

    An empty text is that of an image in one record: the size is 0, and there are no positions.

    Raises:
        ValueError: No image with so many bytes has this list.
    """
    if not text:
        return 0, ()
    if text.count(",") > MAX_CHUNKS or not _LIST.fullmatch(text):
        raise ValueError("no list of chunks")
    size, *places = text.split(",")
    chunk_bytes = int(size)
    if chunk_bytes < MIN_CHUNK_BYTES:
        raise ValueError(f"chunks of less than {MIN_CHUNK_BYTES:,} bytes")
    if len(places) != -(-stored_bytes // chunk_bytes) - 1:
        raise ValueError("not as many chunks as the image's size makes")
    chunks = tuple(_position(place) for place in places)
    if len(set(chunks)) < len(chunks):
        raise ValueError("two chunks at one position")
    return chunk_bytes, chunks


def _position(text: str) -> Position:
    partition, _, offset = text.partition(":")
    position = Position(int(partition), int(offset))
    # An id has no room for another partition or offset, so no record is stored there.
    if position.partition >= MAX_PARTITIONS or position.offset >= MAX_OFFSETS:
        raise ValueError("no position")
    return position
