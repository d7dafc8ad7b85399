"""Settings of uploads: their size, their rate, and the memory for all of them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from app.section import Seconds, Section

# A century.
MOST_SECONDS = 3_155_760_000


class BodySettings(Section):
    """The slowest allowed rate of an upload's body."""

    slow_body_seconds: Seconds = Field(
        4,
        description="how far an upload may fall behind its minimum rate before it may be cut off,"
        " which happens only while others wait for memory",
    )
    min_body_rate: int = Field(
        20_000, ge=1, description="lowest rate of an upload, in bytes a second"
    )


class UploadSettings(Section):
    """The size of one upload, and the memory for all of them."""

    max_bytes: int = Field(
        20_000_000, ge=1_000, le=200_000_000, description="largest upload, in bytes"
    )
    batch_images: int = Field(100, ge=1, le=1_000, description="most images of a batch")
    batch_bytes: int = Field(
        500_000_000, ge=1_000, description="largest batch, in bytes of its whole form"
    )
    budget_bytes: int = Field(
        400_000_000,
        ge=1_000_000,
        description="memory for all uploads at once, four bytes for each that came; beyond it they"
        " wait, then get 503, or 429 over their client's share",
    )
    expires_in_seconds: int = Field(
        0,
        ge=0,
        le=MOST_SECONDS,
        description="how long images are kept whose upload does not say; 0 for ever, or as long as"
        " the maximum allows",
    )
    max_expires_in_seconds: int = Field(
        0, ge=0, le=MOST_SECONDS, description="how long an image may be kept; 0 for ever"
    )
    # Longer than uploads that stall hold theirs (IMAGEGATE_HTTP__SLOW_BODY_SECONDS).
    patience_seconds: float = Field(
        6, ge=0, le=60, description="how long an upload waits for memory of the budget"
    )

    @model_validator(mode="after")
    def _check_expiry(self) -> Self:
        if 0 < self.max_expires_in_seconds < self.expires_in_seconds:
            raise ValueError("expires_in_seconds is longer than max_expires_in_seconds")
        return self

    @property
    def longest_seconds(self) -> int:
        """How long an image may be kept at the most."""
        return self.max_expires_in_seconds or MOST_SECONDS

    @property
    def default_expires_in(self) -> int | None:
        """How long an image is kept whose upload does not say, in seconds; None for ever."""
        return self.expires_in_seconds or self.max_expires_in_seconds or None
