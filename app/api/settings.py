"""Settings of connections on which nothing happens."""

from __future__ import annotations

from pydantic import Field

from app.section import Seconds, Section


class ConnectionSettings(Section):
    """How long a connection may be silent."""

    # The API promises one every 15 seconds; common proxies end a silent connection after 60.
    ping_seconds: float = Field(
        15, gt=0, le=15, description="how often an event stream without events sends a comment"
    )
    # nginx's lingering_timeout is 5 s; a client that is told to stop mostly has within this.
    linger_seconds: Seconds = Field(
        2, description="how long the rest of a refused upload is read, so that its client reads why"
    )
