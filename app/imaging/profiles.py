"""What is promised of a stored image: the compression profiles."""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """How much an image may change to become smaller."""

    ORIGINAL = "original"  # the bytes as uploaded, less their metadata
    LOSSLESS = "lossless"  # every pixel identical
    BALANCED = "balanced"  # not visibly different
    SMALL = "small"  # good on a phone
