"""What is promised of a stored image: the compression profiles, and the rest of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.imaging.metadata.metadata import MetadataOption


class Profile(StrEnum):
    """How much an image may change to become smaller."""

    ORIGINAL = "original"  # the bytes as uploaded, less their metadata
    ARCHIVE = "archive"  # the same, packed in the log and unpacked when read
    LOSSLESS = "lossless"  # every pixel identical
    BALANCED = "balanced"  # not visibly different
    SMALL = "small"  # good on a phone


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is to be made of an upload.

    Args:
        profile: how much it may change.
        metadata: what becomes of metadata.
        webp: whether `lossless` may make a WebP of what is no photo format.
        avif: whether `small` may take the time for an AVIF.
        measure: whether the result is compared with the upload.
    """

    profile: Profile = Profile.BALANCED
    metadata: MetadataOption = MetadataOption.STRIP
    webp: bool = False
    avif: bool = False
    measure: bool = False
