"""The gateway's HTTP server with nothing behind it: bytes from memory out, bodies in and forgotten.

`GET /N` answers N bytes in the pieces of a download. `POST` answers as an upload does, without an
image. Any time that the gateway takes beyond it is the gateway's own.
"""

import multiprocessing
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from app.delivery.chunks import PIECE_BYTES
from app.server.connections import Connections
from app.server.protocol import HttpProtocol
from app.server.serve import bind
from app.server.settings import ServerSettings
from app.server.slices import Slices
from tests.support import facts

# Not zeros, which the kernel keeps in a single page: they would never leave the CPU's cache.
_IMAGE = os.urandom(20_000_000)


@dataclass(frozen=True, slots=True)
class MemoryServer:
    """Its address, host and port, and its process."""

    address: tuple[str, int]
    pid: int


@contextmanager
def memory_server():
    """Run it in a process of its own; yield it."""
    with bind(ServerSettings(port=0)) as listener:
        listener.listen()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(listener,), daemon=True
        )
        process.start()
        try:
            yield MemoryServer(listener.getsockname(), process.pid)
        finally:
            process.kill()
            process.join()


def _serve(listener):
    http = ServerSettings()
    connections = Connections(http.max_connections, http.client_connections)
    config = uvicorn.Config(
        _application,
        log_config=None,
        access_log=False,
        server_header=False,
        http=partial(HttpProtocol, connections, Slices(), http),
        ws="none",
        lifespan="off",
        # Connections idle while the other sides have their turn.
        timeout_keep_alive=600,
    )
    uvicorn.Server(config).run([listener])


async def _application(scope, receive, send):
    if scope["method"] == "POST":
        async for _ in Request(scope, receive).stream():
            pass
        # About as much as the JSON of an image.
        response = JSONResponse(asdict(facts.INFO), 201, {"Location": "/images/none"})
    else:
        size = int(scope["path"][1:])
        response = StreamingResponse(_pieces(size), headers={"Content-Length": str(size)})
    await response(scope, receive, send)


async def _pieces(size):
    image = memoryview(_IMAGE)
    for at in range(0, size, PIECE_BYTES):
        yield bytes(image[at : min(at + PIECE_BYTES, size)])
