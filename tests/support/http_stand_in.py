"""A server of the standard library, in place of one that a gateway calls."""

import threading
from contextlib import contextmanager


@contextmanager
def running(server, tls=None):
    """Serve until the context ends, by HTTPS with a context of TLS; yields the server."""
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
