"""An HTTP client that costs as little as Python can: it shares the cores with the server.

Hides how an answer is told from the bytes of a kept-alive connection. It reads heads and counts
bodies, keeps neither, and understands only answers with a Content-Length.
"""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.rounds import IN_FLIGHT, spread

_BUFFER_BYTES = 262_144
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and head of an answer whose body has come."""

    status: int
    head: bytes

    def header(self, name):
        """Return the value of a header, None if it is not there."""
        found = re.search(rb"(?mi)^" + name.encode() + rb": *([^\r]*)", self.head)
        return found[1].decode() if found else None


class Connection(asyncio.BufferedProtocol):
    """A kept-alive connection, for one request at a time."""

    def __init__(self):
        self._buffer = bytearray(_BUFFER_BYTES)
        self._head = b""
        self._missing = 0
        self._answer = None

    def connection_made(self, transport):
        """See `asyncio.BaseProtocol`."""
        self._transport = transport

    def get_buffer(self, sizehint):  # noqa: ARG002 - asyncio's signature
        """See `asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, count):
        """Read on: a head until it is whole, then so many bytes of a body."""
        if not self._missing:
            self._head += bytes(self._buffer[:count])
            if (end := self._head.find(_END)) < 0:
                return
            self._begin(end + len(_END))
        else:
            self._missing -= count
        if not self._missing:
            head, self._head = self._head, b""
            self._answer.set_result(Answer(int(head.split(None, 2)[1]), head))

    def connection_lost(self, error):
        """Fail whoever waits for an answer."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed"))

    async def ask(self, head, body=b"", content_type=None):
        """Send a request, and return its answer once all of it has come."""
        self._answer = asyncio.get_running_loop().create_future()
        fields = f"Content-Length: {len(body)}\r\n" if body else ""
        if content_type:
            fields += f"Content-Type: {content_type}\r\n"
        self._transport.write(f"{head} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        if body:
            self._transport.write(body)
        return await self._answer

    def close(self):
        """Close it at once."""
        self._transport.abort()

    def _begin(self, body_at):
        length = int(Answer(0, self._head[:body_at]).header("content-length"))
        self._missing = length - (len(self._head) - body_at)
        self._head = self._head[:body_at]


class Client:
    """Connections to one server, which take requests in turns."""

    def __init__(self, connections):
        self._connections = connections

    async def upload(self, images):
        """Upload all images; return the paths at which they are served."""
        paths = []

        async def one(connection, image):
            answer = await connection.ask("POST /images", image)
            _expect(answer, 201)
            paths.append(answer.header("location"))

        await spread(one, images, self._connections)
        return paths

    async def download(self, paths):
        """Download all paths."""

        async def one(connection, path):
            _expect(await connection.ask(f"GET {path}"), 200)

        await spread(one, paths, self._connections)


@asynccontextmanager
async def connected(host, port, count=IN_FLIGHT):
    """Open connections, and close them at the end."""
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(Connection, host, port))[1] for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def _expect(answer, status):
    if answer.status != status:
        raise RuntimeError(f"the answer is {answer.head.decode()}")
