"""Settings of idle connections."""

from __future__ import annotations

from pydantic import Field

from app.section import Seconds, Section


class ConnectionSettings(Section):
    """How long a connection may be silent, and how long a refused upload is read."""

    # The API promises a comment every 15 seconds; common proxies end an idle connection after 60.
    ping_seconds: float = Field(
        15, gt=0, le=15, description="longest silence of an event stream before it sends a comment"
    )
    # nginx's lingering_timeout is 5 s; most clients stop sending within this.
    linger_seconds: Seconds = Field(
        2, description="how long a refused upload is still read, so that its client sees the answer"
    )
