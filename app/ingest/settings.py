"""Settings of uploads: their size, their rate, and the memory for all of them."""

from __future__ import annotations

from pydantic import Field

from app.section import Seconds, Section


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
    budget_bytes: int = Field(
        512_000_000,
        ge=1_000_000,
        description="memory for all uploads at once, four bytes for each that came; beyond it they"
        " wait, then get 503, or 429 over their client's share",
    )
    # Longer than uploads that stall hold theirs (IMAGEGATE_HTTP__SLOW_BODY_SECONDS).
    patience_seconds: float = Field(
        6, ge=0, le=60, description="how long an upload waits for memory of the budget"
    )
