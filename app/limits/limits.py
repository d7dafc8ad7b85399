"""The limits of one kind of client: principals, or addresses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.limits.bucket import Rate

if TYPE_CHECKING:
    from app.limits.settings import LimitSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one kind of client; 0 stands for none.

    Args:
        kind: What the policies are named after.
        window_seconds: How many seconds' worth of a rate may be used at once.
        requests: A second.
        sent_bytes: A second, both ways.
        worker_seconds: A second.
        bytes_in_flight: Of the uploads that run.
        uploads: That run.
        connections: Requests that run.
    """

    kind: str
    window_seconds: float
    requests: float
    sent_bytes: float
    worker_seconds: float
    bytes_in_flight: int
    uploads: int
    connections: int

    @property
    def exist(self) -> bool:
        """Whether there is any."""
        return self != replace(NONE, kind=self.kind, window_seconds=self.window_seconds)

    def rate(self, per_second: float) -> Rate | None:
        """Return a rate of which a bucket holds one unit at least; None if there is no limit."""
        if not per_second:
            return None
        return Rate(per_second, max(self.window_seconds, math.ceil(1 / per_second)))


NONE = Limits("", 0, 0, 0, 0, 0, 0, 0)


def of_principals(settings: LimitSettings) -> Limits:
    """Return the limits of one principal."""
    return Limits(
        "principal",
        settings.window_seconds,
        settings.principal_requests,
        settings.principal_bytes,
        settings.principal_worker_seconds,
        settings.principal_bytes_in_flight,
        settings.principal_uploads,
        settings.principal_connections,
    )


def of_addresses(settings: LimitSettings) -> Limits:
    """Return the limits of one address; its connections are bounded by the server."""
    return Limits(
        "address",
        settings.window_seconds,
        settings.address_requests,
        settings.address_bytes,
        settings.address_worker_seconds,
        settings.address_bytes_in_flight,
        settings.address_uploads,
        0,
    )
