"""Settings of imaging: profiles, options, and the limits of one image."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile
from app.section import Seconds, Section, variable

Name = TypeVar("Name", bound=StrEnum)


class ImagingSettings(Section):
    """How images are compressed, and how large one may be."""

    profile: Profile = Field(Profile.BALANCED, description="profile of uploads that name none")
    profiles: tuple[Profile, ...] = Field(
        tuple(Profile), description="profiles that an upload may name, separated by commas"
    )
    metadata: tuple[MetadataOption, ...] = Field(
        tuple(MetadataOption),
        description="metadata options that an upload may name; the first is the default",
    )
    avif: bool = Field(
        default=False,
        description="whether the profile small encodes AVIF: a third smaller, ten times slower",
    )
    packing_seconds: Seconds = Field(
        5,
        description="how much time of a CPU a worker may use to pack an image better, as `archive`,"
        " `lossless` and PNG are; beyond it, the image is stored as it was before",
    )
    measure_quality: bool = Field(
        default=False,
        description="whether receipts state the quality (SSIMULACRA2; needs the extra quality)",
    )
    max_pixels: int = Field(
        50_000_000, ge=1, le=500_000_000, description="the most pixels, summed over all frames"
    )
    max_side: int = Field(
        16_383, ge=1, le=65_535, description="the longest width or height, in pixels"
    )
    max_frames: int = Field(1_000, ge=1, le=10_000, description="the most frames of an animation")
    max_metadata_bytes: int = Field(
        10_000_000,
        ge=10_000,
        le=200_000_000,
        description="the most bytes of metadata, the colour profile included",
    )

    @field_validator("profiles", mode="before")
    @classmethod
    def _split_profiles(cls, given: Any) -> Any:
        return _split(given, Profile)

    @field_validator("metadata", mode="before")
    @classmethod
    def _split_metadata(cls, given: Any) -> Any:
        return _split(given, MetadataOption)

    @model_validator(mode="after")
    def _check_default(self) -> Self:
        if self.profile not in self.profiles:
            raise ValueError(
                f"the default profile {self.profile.value!r} is not among the allowed profiles"
                f" ({', '.join(self.profiles)}): set {variable('imaging', 'profile')} too"
            )
        return self


def _split(given: Any, names: type[Name]) -> Any:
    """Parse a list separated by commas; anything else is left to pydantic."""
    if not isinstance(given, str):
        return given
    known = set(names)
    for name in given.split(","):
        if name not in known:
            raise ValueError(f"{name[:50]!r} is not allowed; allowed: {', '.join(names)}")
    return tuple(names(name) for name in given.split(","))
