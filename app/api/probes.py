"""The probes, which are answered as long as anything is.

What limits pass over is these two paths alone: another below `/health/` would be a way round them.
"""

from __future__ import annotations

LIVE, READY = "/health/live", "/health/ready"
_PROBES = {LIVE, READY}


def is_probe(path: str) -> bool:
    """Tell whether a path is that of a probe."""
    return path in _PROBES
