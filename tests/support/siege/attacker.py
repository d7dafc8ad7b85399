"""An attacker: plain sockets from addresses of its own, and counts of what it sends and is told.

It runs as a process, `python -m tests.support.siege.attacker MODULE:FUNCTION JSON`, until its
standard input ends; then it prints its counts. Hides how little it may cost: it shares the cores
with the gateway and the normal client, so it sends bytes that were made before, and reads answers
into one buffer that nobody looks at.
"""

import asyncio
import json
import resource
import socket
import ssl
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_BUFFER_BYTES = 1_048_576
# The addresses of one network of loopback, from 127.0.0.2 on: the normal client is 127.0.0.1.
_ADDRESSES = 250


def any_server():
    """Return a context of TLS that asks for no name and no authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Attacker:
    """What an attack is made with.

    Attributes:
        given: What the test prepared: paths of images and of files with bytes to send.
        sent_bytes: Bytes sent so far, of requests; not those of the network.
        answers: Statuses of answers, and `cut off` for connections that ended without one.
    """

    def __init__(self, host, port, given):
        self.given = given
        self.sent_bytes = 0
        self.answers = Counter()
        self._target = (host, port)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._open = set()

    def bytes_of(self, name):
        """Return the bytes of a file that the test made."""
        return Path(self.given[name]).read_bytes()

    async def connect(self, client=0, *, receive_buffer=None):
        """Open a connection from the address of a client, the first of which is 127.0.0.2."""
        opened = socket.socket()
        self._open.add(opened)
        opened.setblocking(False)
        if receive_buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        network, number = divmod(client, _ADDRESSES)
        try:
            opened.bind((f"127.0.{network}.{number + 2}", 0))
            await asyncio.get_running_loop().sock_connect(opened, self._target)
        except BaseException:
            self.close(opened)
            raise
        return opened

    async def shake_hands(self, client):
        """Open a connection, do the handshake of TLS on it, and close it."""
        opened = await self.connect(client)
        try:
            _, writer = await asyncio.open_connection(
                sock=opened, ssl=any_server(), server_hostname=""
            )
            self.answers["handshake"] += 1
            writer.transport.abort()
        finally:
            self.close(opened)

    def close(self, opened):
        """Close a connection."""
        self._open.discard(opened)
        opened.close()

    async def send(self, opened, data):
        """Send bytes, as fast as the gateway reads them."""
        await asyncio.get_running_loop().sock_sendall(opened, data)
        self.sent_bytes += len(data)

    async def read(self, opened, most_bytes=float("inf")):
        """Read until so many bytes have come, or the end; count the status that comes first."""
        loop, count = asyncio.get_running_loop(), 0
        while count < most_bytes:
            received = await loop.sock_recv_into(opened, self._buffer)
            if not received:
                break
            if not count:
                self.answers[bytes(self._buffer[9:12]).decode("ascii", "replace")] += 1
            count += received
        if not count:
            self.answers["cut off"] += 1

    async def ask(self, data, client=0, *, half_close=False):
        """Send a request on a connection of its own, and read its answer to the end.

        Args:
            data: The bytes of the request.
            client: Whose it is.
            half_close: Whether to end one's own side of the connection then.
        """
        opened = await self.connect(client)
        try:
            # An early answer is read although the rest could not be sent.
            with suppress(ConnectionError):
                await self.send(opened, data)
                if half_close:
                    opened.shutdown(socket.SHUT_WR)
            await self.read(opened)
        finally:
            self.close(opened)

    async def keep(self, count, work, pause_seconds=0.5):
        """Have `count` of these at once, each again a while after it has ended, for ever."""
        await asyncio.gather(*(self._again(work, number, pause_seconds) for number in range(count)))

    async def every(self, seconds, work):
        """Begin one every so often, whatever has become of those before, for ever."""
        loop, numbers, running = asyncio.get_running_loop(), 0, set()
        due = loop.time()
        while True:
            task = asyncio.create_task(self._once(work, numbers))
            running.add(task)
            task.add_done_callback(running.discard)
            numbers, due = numbers + 1, due + seconds
            await asyncio.sleep(due - loop.time())

    async def _again(self, work, number, pause_seconds):
        while True:
            await self._once(work, number)
            await asyncio.sleep(pause_seconds)

    async def _once(self, work, number):
        try:
            await work(number)
        except OSError as error:
            self.answers["cut off" if isinstance(error, ConnectionError) else str(error)] += 1

    def end(self):
        """Close every connection that is still open."""
        for opened in list(self._open):
            self.close(opened)


def request(method, path, body=b"", **headers):
    """Return the bytes of a request after which the gateway is to close the connection."""
    fields = {"Host": "localhost", "Connection": "close"}
    if body:
        fields["Content-Length"] = len(body)
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def upload(body, **headers):
    """Return the bytes of an upload; see `request`."""
    return request("POST", "/images", body, **({"Content_Type": "image/jpeg"} | headers))


async def attack(name, host, port, given):
    """Run an attack until standard input ends, and return its counts."""
    module, _, function = name.partition(":")
    run = getattr(import_module(f"tests.support.siege.{module}"), function)
    attacker, started = Attacker(host, port, given), time.monotonic()
    ended = asyncio.create_task(_end_of_input())
    task = asyncio.create_task(run(attacker))
    print("begun", flush=True)  # noqa: T201 - the test reads it
    await asyncio.wait({ended, task}, return_when=asyncio.FIRST_COMPLETED)
    seconds = time.monotonic() - started
    if task.done():
        # Attacks have no end of their own.
        raise RuntimeError(f"{name} ended") from task.exception()
    task.cancel()
    await asyncio.wait({task})
    attacker.end()
    return {
        "sent_bytes": attacker.sent_bytes,
        "answers": attacker.answers,
        "seconds": seconds,
        "cpu_seconds": time.process_time(),
    }


async def _end_of_input():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()


def main(name, options):
    """See the module."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asyncio.run(attack(name, **json.loads(options)))))  # noqa: T201 - as above


if __name__ == "__main__":
    main(*sys.argv[1:])
