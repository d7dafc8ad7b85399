"""The file descriptors of the process, of which connections may have what the rest leaves.

Hides how many the rest needs. A process that has none left cannot accept a connection, and says
nothing: libuv closes such a connection at once.
"""

from __future__ import annotations

import resource
from pathlib import Path

from app.server.connections import EXTRA

# Sockets to brokers that reconnect (2 for each of three, 8 lanes), files of SQLite, and a worker
# that is replaced (4), at once.
_RESERVE = 32
_FEWEST = 8
# Lists the descriptors of the process, on Linux and macOS.
_FOLDER = Path("/dev/fd")


def raise_limit() -> None:
    """Allow as many descriptors as the process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_for_connections() -> int:
    """Return how many connections the descriptors allow, beside what is open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(soft - sum(1 for _ in _FOLDER.iterdir()) - EXTRA - _RESERVE, _FEWEST)
