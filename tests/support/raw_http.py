"""HTTP/1.1 by hand over a socket, as no client library allows it."""

import json
import socket
from contextlib import closing

TIMEOUT_SECONDS = 20


class RawClient:
    """One connection; `with RawClient(gateway) as client`."""

    def __init__(self, gateway, receive_buffer=None, source=None):
        self.socket = socket.socket()
        if source:
            # Every address of 127.0.0.0/8 is this machine: another client.
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT_SECONDS)
        self.received = b""
        try:
            self.socket.connect(gateway.address)
            if gateway.url.startswith("https:"):
                self.socket = gateway.trust().wrap_socket(
                    self.socket, server_hostname=gateway.address[0]
                )
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send_head(self, method, path, **headers):
        fields = {"Host": "localhost"} | {k.replace("_", "-"): v for k, v in headers.items()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, data):
        self.socket.sendall(data)

    def read_head(self):
        """Return the next status and its headers, interim responses included."""
        while b"\r\n\r\n" not in self.received:
            assert self._receive(), f"the connection ended after {self.received!r}"
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, value in pairs}

    def read_some(self):
        """Return the bytes received, at least one; none at the end of the connection."""
        if not self.received:
            self._receive()
        data, self.received = self.received, b""
        return data

    def read_body(self, headers):
        length = int(headers["content-length"])
        while len(self.received) < length:
            assert self._receive(), f"the body ended after {len(self.received)} of {length} bytes"
        body, self.received = self.received[:length], self.received[length:]
        return body

    def read_problem(self):
        """Return status, headers and the problem; assert that it is one."""
        status, headers = self.read_head()
        body = self.read_body(headers)
        assert headers["content-type"] == "application/problem+json", (status, headers, body)
        problem = json.loads(body)
        assert problem["status"] == status
        return status, headers, problem

    def ended(self):
        """Wait for the end of the connection; False when something else came."""
        return self.received == b"" and not self._receive()

    def _receive(self):
        data = self.socket.recv(65_536)
        self.received += data
        return data


def refuses_connections(gateway):
    """Tell whether the gateway has stopped listening."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(gateway.address) != 0
