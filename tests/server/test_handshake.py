"""TLS on asyncio's own loop: what counts before the handshake, and how long that may take."""

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

from app.server import handshake
from app.server.certificate import read_certificate
from app.server.connections import Connections
from app.server.handshake import Handshake
from app.server.settings import ServerSettings
from tests.support.authority import Authority
from tests.support.facts import until


class Echo(asyncio.Protocol):
    """Stands for HTTP: returns what comes, and closes after a full stop."""

    def __init__(self, server_state):
        self.server_state = server_state

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)
        if data.endswith(b"."):
            self.transport.close()


class World:
    """A server with TLS, and its table of connections."""

    def __init__(self, contexts, port, table, state):
        self.contexts, self.port, self.table, self.state = contexts, port, table, state

    async def plain(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def secured(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)


@asynccontextmanager
async def world(tmp_path, limit=10):
    file = Authority(tmp_path / "ca.pem").issue(tmp_path / "cert.pem", "one")
    contexts = SimpleNamespace(last=read_certificate(file, file).context)
    table, state = Connections(limit, limit), SimpleNamespace(connections=set())

    def make():
        return Handshake(contexts, table, ServerSettings(), Echo, server_state=state)

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    async with server:
        yield World(contexts, server.sockets[0].getsockname()[1], table, state)


async def test_a_connection_counts_before_its_handshake_and_no_longer_than_that(tmp_path):
    async with world(tmp_path) as it:
        _, writer = await it.plain()
        await until(lambda: len(it.table) == 1)
        assert len(it.state.connections) == 1
        writer.close()
        await until(lambda: len(it.table) == 0)
        assert it.state.connections == set()


async def test_a_handshake_that_takes_too_long_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(handshake, "_SECONDS", 0.05)
    async with world(tmp_path) as it:
        reader, writer = await it.plain()
        writer.write(b"\x16\x03\x01")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: len(it.table) == 0)


async def test_the_oldest_that_is_silent_gives_way_at_the_limit(tmp_path):
    async with world(tmp_path, limit=2) as it:
        silent = [await it.plain() for _ in range(2)]
        await until(lambda: len(it.table) == 2)
        _, writer = await it.secured()
        with suppress(ConnectionResetError):
            assert await silent[0][0].read(1) == b""
        for each in (*(writer for _, writer in silent), writer):
            each.transport.abort()


async def test_a_request_that_comes_with_the_handshakes_end_is_not_lost(tmp_path):
    async with world(tmp_path) as it:
        for _ in range(20):
            reader, writer = await it.secured()
            writer.write(b"hello.")
            assert await reader.read() == b"hello."
            writer.close()


async def test_closing_sends_all_and_does_not_wait_for_the_client(tmp_path):
    data = bytes(3_000_000) + b"."
    async with world(tmp_path) as it:
        reader, writer = await it.secured()
        writer.write(data)
        received = b"".join([piece async for piece in pieces(reader)])
        assert received == data
        writer.transport.abort()


async def pieces(reader):
    while piece := await reader.read(50_000):
        yield piece
