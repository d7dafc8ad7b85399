"""A TCP proxy whose connections can be slowed, held, cut and reset while they are used."""

import asyncio
import contextlib
import socket
import struct

from dev.kafka.ports import HOST, free_port

_PIECE_BYTES = 65_536
# Pieces that are under way in one direction of a connection: the proxy must not become a buffer.
_PIECES = 64
# On close, send a reset instead of the unsent bytes (socket(7), SO_LINGER).
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Stands before a server on loopback. An asynchronous context manager.

    Attributes:
        port: Where it listens.
        latency_seconds: How late each piece arrives, in both directions.
        requests, answers: Flow while they are set; held bytes go on later, though the client may
            have left.
        held_bytes: Those that are held now.
    """

    def __init__(self):
        self.port = free_port()
        self.latency_seconds = 0.0
        self.requests, self.answers = asyncio.Event(), asyncio.Event()
        self.requests.set()
        self.answers.set()
        self.held_bytes = 0
        self._upstream_port = None
        self._server = None
        self._connections = set()
        self._clients = set()
        self._tasks = set()

    async def start(self, upstream_port):
        """Begin to pass connections on to a port of loopback."""
        self._upstream_port = upstream_port
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()

    def black_hole(self):
        """Receive everything and pass on nothing."""
        self.requests.clear()
        self.answers.clear()

    def let_go(self):
        """Pass on all bytes, held ones first."""
        self.requests.set()
        self.answers.set()

    def cut(self):
        """Close every connection."""
        for writer in list(self._connections):
            writer.close()

    def reset(self):
        """Reset every connection, as a firewall that has forgotten it does."""
        for writer in list(self._connections):
            _reset(writer)

    def hold_and_reset(self):
        """Reset the clients' connections; return an event that lets their held requests go on.

        New connections work meanwhile.
        """
        held, self.requests = self.requests, asyncio.Event()
        held.clear()
        self.requests.set()
        for writer in list(self._clients):
            _reset(writer)
        return held

    async def _serve(self, reader, writer):
        self._tasks.add(task := asyncio.current_task())
        self._connections.add(writer)
        self._clients.add(writer)
        upstream = None
        try:
            upstream_reader, upstream = await asyncio.open_connection(HOST, self._upstream_port)
            self._connections.add(upstream)
            await asyncio.gather(
                self._pass(reader, upstream, self.requests),
                self._pass(upstream_reader, writer, self.answers),
            )
        # Cancelled only at the end, where asyncio's own server would complain.
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._connections.discard(end)
                    end.close()
            self._clients.discard(writer)
            self._tasks.discard(task)

    async def _pass(self, reader, writer, flows):
        """Pass on one direction; bytes are delivered even when their sender has left."""
        pieces = asyncio.Queue(_PIECES)
        delivery = asyncio.create_task(self._deliver(pieces, writer, flows))
        try:
            with contextlib.suppress(OSError):
                while piece := await reader.read(_PIECE_BYTES):
                    due = asyncio.get_running_loop().time() + self.latency_seconds
                    await pieces.put((due, piece))
            await pieces.put(None)
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(self, pieces, writer, flows):
        with contextlib.suppress(OSError):
            while (entry := await pieces.get()) is not None:
                due, piece = entry
                await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))
                self.held_bytes += len(piece)
                await flows.wait()
                self.held_bytes -= len(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()
        # The reader of the other side must not wait for room in the queue.
        while not pieces.empty():
            pieces.get_nowait()


def _reset(writer):
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
