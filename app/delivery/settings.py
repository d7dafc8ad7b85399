"""Settings of downloads: memory for records, unpacked images, and pictures being watched."""

from __future__ import annotations

from pydantic import Field

from app.section import Section


class DeliverySettings(Section):
    """Memory that downloads may use."""

    cache_bytes: int = Field(
        64_000_000, ge=0, description="memory for recently read records; 0 for no cache"
    )
    unpack_bytes: int = Field(
        256_000_000,
        ge=1_000_000,
        description="memory for unpacking images of the profile archive, for all downloads at once",
    )
    pictures_bytes: int = Field(
        128_000_000,
        ge=1_000_000,
        description="memory for pictures that watchers of the live stream hold, all together",
    )
