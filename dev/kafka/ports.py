"""Ports on loopback that a broker can be stopped and started on again."""

import random
import socket

HOST = "127.0.0.1"
# Below the range of outgoing connections (Linux: from 32768). Inside it, a client that keeps trying
# a stopped broker's port can end up connected to itself, and the next start finds the port in use.
CANDIDATES = range(20_000, 32_000)


def free_port() -> int:
    """Return a port on loopback that is free now."""
    for port in random.sample(CANDIDATES, 200):
        if is_free(port):
            return port
    raise OSError(f"no free port in {CANDIDATES}")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        # As the broker does: connections of its last run in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
