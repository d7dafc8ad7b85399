"""The compression profiles, with the promise of each, and the rest of a recipe."""

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
    """The way in which an upload is developed.

    Args:
        profile: How much it may change.
        metadata: What becomes of metadata.
        webp: Whether `lossless` may make a WebP of PNG, TIFF and BMP.
        heic: Whether `balanced` and `small` may keep a HEIC.
        avif: Whether `small` may take the time for an AVIF.
        measure: Whether the result is compared with the upload.
    """

    profile: Profile = Profile.BALANCED
    metadata: MetadataOption = MetadataOption.STRIP
    webp: bool = False
    heic: bool = False
    avif: bool = False
    measure: bool = False
