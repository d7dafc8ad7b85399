"""Downloads against the bare read of the log, and against the same server with bytes from memory.

- *log*: the records of an image are read without the gateway;
- *memory*: the same HTTP server sends as many bytes from memory, in the same pieces;
- *in turn*: both of them, one after the other, as a download does both;
- *uncached*: a gateway without a cache; *cached*: one that has every image in memory.

CPU is that of the server's process, in milliseconds a download.
"""

from contextlib import AsyncExitStack
from itertools import cycle, islice

from bench.cpu import Counted
from bench.http_client import Client, connected
from bench.memory_server import memory_server
from bench.rounds import ROUNDS, medians, rates, ratios
from bench.samples import jpeg, kilobytes
from bench.targets import gateway

# Side of the picture, images and downloads a round. The images have 50 KB to 5 MB.
CASES = ((400, 32, 320), (1290, 16, 160), (4090, 4, 24))
CACHES = {"uncached": 0, "cached": 512_000_000}


async def measure(target, folder):
    """Return the rows of the table, one a size."""
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(target.bare(folder))
        memory = stack.enter_context(memory_server())
        servers, cpu = {"memory": memory.address}, {"memory": Counted(memory.pid)}
        for name, size in CACHES.items():
            settings = {"IMAGEGATE_DELIVERY__CACHE_BYTES": size}
            process = gateway(target, folder / name, **settings)
            started = stack.enter_context(process)
            servers[name], cpu[name] = started.address, Counted(started.process.pid)
        clients = {
            name: Client(await stack.enter_async_context(connected(*address)))
            for name, address in servers.items()
        }
        return [await _row(*case, log, clients, cpu) for case in CASES]


async def _row(side, images, count, log, clients, cpu):
    sample = jpeg(side)
    size = sample.stored_bytes
    addresses, paths = await _store(sample, images, log, clients)

    def downloads(name):
        return lambda: clients[name].download(islice(cycle(paths[name]), count))

    reads = list(islice(cycle(addresses), count))
    seconds = await medians(
        {"log": lambda: log.read(reads)}
        | {name: each.counting(downloads(name)) for name, each in cpu.items()}
    )
    seconds["in turn"] = seconds["log"] + seconds["memory"]
    return (
        {"image": kilobytes(size)}
        | rates(size, count, seconds)
        | ratios("uncached", seconds, ("log", "memory", "in turn"))
        | ratios("cached", seconds, ("memory",))
        | {f"{name}, ms": _milliseconds(each, count) for name, each in cpu.items()}
    )


def _milliseconds(cpu, count):
    """Return a table cell: the CPU of a download. The round that warms up is counted too."""
    return f"{cpu.taken() / (ROUNDS + 1) / count * 1000:.2f}"


async def _store(sample, images, log, clients):
    """Return the addresses of the images' records, and the paths of the images by server."""
    addresses, paths = [], {"memory": [f"/{sample.stored_bytes}"], "uncached": [], "cached": []}
    # One by one: images that are written at once may share a batch, and are then fetched at once.
    for _ in range(images):
        addresses += await log.write([sample.values])
        for name in CACHES:
            paths[name] += await clients[name].upload([sample.upload])
    return addresses, paths
