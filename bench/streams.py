"""Those who follow `/streams/images`: what an event costs for each, and how soon all have it.

The gateway, and a bare asyncio server that writes the same bytes to as many sockets, take turns.
The watchers are a process of their own, which says when the last of them has an event. CPU is that
of the server's process, less what an upload costs alone. Beside the watchers, uploads follow each
other at once: each comes while the event of the one before still goes out.
"""

import asyncio
import multiprocessing
import statistics
import time
from contextlib import AsyncExitStack, contextmanager

from bench.cpu import cpu_seconds
from bench.http_client import Client, connected
from bench.rounds import ROUNDS
from bench.samples import jpeg
from bench.targets import gateway

WATCHERS = 2_000
# Of each side, in each round.
EVENTS = 5
UPLOADS = 10
# Side of the picture that is uploaded: 51 KB.
SIDE = 268
SETTINGS = {
    "IMAGEGATE_IMAGING__PROFILE": "original",
    "IMAGEGATE_HTTP__CLIENT_CONNECTIONS": 2 * WATCHERS,
}
_HEAD = b"GET /streams/images HTTP/1.1\r\nHost: localhost\r\n\r\n"
_EVENT = b"\nid: "
_SECONDS = 60


async def measure(target, folder):
    """Return the rows of the table: the gateway, the bare server, and their ratio."""
    sample = jpeg(SIDE).upload
    async with AsyncExitStack() as stack:
        process = stack.enter_context(gateway(target, folder / "gateway", **SETTINGS))
        [connection] = await stack.enter_async_context(connected(*process.address, 1))
        client = Client([connection])

        def upload():
            return client.upload([sample])

        event = await _event(process.address, upload)
        alone = await _milliseconds(upload, ROUNDS * UPLOADS)
        cpu_alone = await _cpu(process.process.pid, upload, ROUNDS * UPLOADS)
        bare = stack.enter_context(_bare(event))
        sides = {
            "gateway": _Side(process.address, process.process.pid, upload),
            "bare": _Side(bare.address, bare.pid, bare.write),
        }
        for side in sides.values():
            stack.enter_context(side)
        for _ in range(1 + ROUNDS):
            for side in sides.values():
                await side.round()
        beside = await _milliseconds(upload, ROUNDS * UPLOADS)
    cost = {name: side.cpu_ms() for name, side in sides.items()}
    cost["gateway"] -= cpu_alone / WATCHERS
    last = {name: side.last_ms() for name, side in sides.items()}
    rows = [
        {
            "side": name,
            "CPU a watcher and event": f"{cost[name] * 1000:.0f} µs",
            "the last has it after": f"{last[name]:.0f} ms",
            "upload alone": "",
            f"beside {WATCHERS:,} watchers": "",
        }
        for name in sides
    ]
    rows[0] |= {
        "upload alone": f"{alone:.0f} ms",
        f"beside {WATCHERS:,} watchers": f"{beside:.0f} ms",
    }
    ratios = [cost["gateway"] / cost["bare"], last["gateway"] / last["bare"], 1, beside / alone]
    return [*rows, dict(zip(rows[0], ["ratio", *(f"{each:.1f}" for each in ratios)], strict=True))]


class _Side:
    """A server with its watchers, and what its events cost."""

    def __init__(self, address, pid, make_event):
        self._address = address
        self._pid = pid
        self._make_event = make_event
        self._seen = 0
        self._cpu = []
        self._last = []

    def __enter__(self):
        self._pipe, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_watch, args=(self._address, there), daemon=True
        )
        self._process.start()
        _received(self._pipe)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.join()

    async def round(self):
        """Make events, each once all watchers have the one before."""
        for _ in range(EVENTS):
            before, started = cpu_seconds(self._pid), time.monotonic()
            await self._make_event()
            self._seen += 1
            while (said := await asyncio.to_thread(_received, self._pipe))[0] < self._seen:
                pass
            self._last.append(said[1] - started)
            self._cpu.append(cpu_seconds(self._pid) - before)

    def cpu_ms(self):
        """Return the CPU of an event for each watcher, without the round that warms up."""
        return statistics.mean(self._cpu[EVENTS:]) * 1000 / WATCHERS

    def last_ms(self):
        """Return when the last watcher has an event, after its upload has begun."""
        return statistics.median(self._last[EVENTS:]) * 1000


async def _milliseconds(work, times):
    """Return the median of how long it takes."""
    taken = []
    for _ in range(times):
        started = time.monotonic()
        await work()
        taken.append(time.monotonic() - started)
    return statistics.median(taken) * 1000


async def _cpu(pid, work, times):
    before = cpu_seconds(pid)
    for _ in range(times):
        await work()
    return (cpu_seconds(pid) - before) * 1000 / times


async def _event(address, upload):
    """Return an event as it comes, in the framing of HTTP."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(_HEAD)
    await reader.readuntil(b"retry: ")
    await reader.readuntil(b"\n\n\r\n")
    await upload()
    event = await reader.readuntil(b"\n\n\r\n")
    writer.close()
    return event


def _received(pipe):
    if not pipe.poll(_SECONDS):
        raise TimeoutError("the watchers do not have it")
    return pipe.recv()


# The process of the watchers.


def _watch(address, pipe):
    asyncio.run(_watch_all(address, pipe))


async def _watch_all(address, pipe):
    counts = _Counts(pipe)
    loop = asyncio.get_running_loop()
    for _ in range(WATCHERS):
        await loop.create_connection(lambda: _Watcher(counts), *address)
    await asyncio.wait_for(counts.all_open.wait(), _SECONDS)
    pipe.send(None)
    await asyncio.Event().wait()


class _Counts:
    """How many watchers have each event; the pipe is told when the last one has it."""

    def __init__(self, pipe):
        self._pipe = pipe
        self._missing = {}
        self._opening = WATCHERS
        self.all_open = asyncio.Event()

    def opened(self):
        self._opening -= 1
        if not self._opening:
            self.all_open.set()

    def has(self, number):
        left = self._missing[number] = self._missing.get(number, WATCHERS) - 1
        if not left:
            self._pipe.send((number, time.monotonic()))


class _Watcher(asyncio.Protocol):
    def __init__(self, counts):
        self._counts = counts
        self._tail = b""
        self._events = 0
        self._is_open = False

    def connection_made(self, transport):
        transport.write(_HEAD)

    def data_received(self, data):
        if not self._is_open:
            self._is_open = True
            self._counts.opened()
        for _ in range((self._tail + data).count(_EVENT)):
            self._events += 1
            self._counts.has(self._events)
        self._tail = data[1 - len(_EVENT) :]


# The process of the bare server.


@contextmanager
def _bare(event):
    pipe, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve_bare, args=(event, there), daemon=True
    )
    process.start()
    try:
        yield _Bare(process.pid, _received(pipe), pipe)
    finally:
        process.kill()
        process.join()


class _Bare:
    def __init__(self, pid, address, pipe):
        self.pid = pid
        self.address = address
        self._pipe = pipe

    async def write(self):
        """Have the event written to everyone."""
        self._pipe.send(None)


def _serve_bare(event, pipe):
    from uvicorn.loops.auto import auto_loop_factory  # noqa: PLC0415 - in that process alone

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(_serve_all(event, pipe))


async def _serve_all(event, pipe):
    transports = []

    class Watched(asyncio.Protocol):
        def connection_made(self, transport):
            self._transport = transport

        def data_received(self, data):  # noqa: ARG002 - it is a request
            transports.append(self._transport)
            self._transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def write():
        pipe.recv()
        for each in transports:
            each.write(event)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Watched, "127.0.0.1", 0, backlog=WATCHERS)
    loop.add_reader(pipe.fileno(), write)
    pipe.send(server.sockets[0].getsockname())
    await server.serve_forever()
