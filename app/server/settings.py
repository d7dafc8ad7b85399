"""Settings of the server: its socket and its shutdown."""

from __future__ import annotations

from pydantic import Field

from app.section import Section


class ServerSettings(Section):
    """Where the server listens, and how it stops."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on; 0 picks a free one")
    grace_seconds: int = Field(
        20,
        ge=1,
        le=600,
        description="how long requests may go on after SIGTERM before they are cut off",
    )
