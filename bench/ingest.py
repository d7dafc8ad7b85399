"""Uploads against their parts: the codec, the write to the log, the HTTP server.

All four do the same images in the same rounds:

- *codec*: a loop of `develop` in as many processes as the gateway has workers, and nothing else;
- *log*: the records of an image, written without the gateway;
- *server*: the same HTTP server receives the body, and answers at once;
- *gateway*: uploads over HTTP, acknowledged by the log.

They share the cores, so an upload cannot be faster than the three *in turn*, whose rate is the
harmonic sum, unless a core was idle in one of them.
"""

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack

from app.imaging.limits import ImageLimits
from bench.http_client import Client, connected
from bench.memory_server import memory_server
from bench.rounds import IN_FLIGHT, medians, rates, ratios
from bench.samples import jpeg, kilobytes
from bench.targets import gateway
from tests.support.developing import develop

WORKERS = os.cpu_count() or 1
# Side of the picture and uploads a round, for about 50 KB, 500 KB and 5 MB.
CASES = ((268, 160), (870, 32), (2754, 8))


async def measure(target, folder):
    """Return the rows of the table, one a size."""
    async with AsyncExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        codec = stack.enter_context(ProcessPoolExecutor(WORKERS, context))
        log = await stack.enter_async_context(target.bare(folder))
        addresses = (
            stack.enter_context(memory_server()).address,
            stack.enter_context(gateway(target, folder / "gateway")).address,
        )
        clients = [
            Client(await stack.enter_async_context(connected(*address))) for address in addresses
        ]
        return [await _row(side, count, codec, log, *clients) for side, count in CASES]


async def _row(side, count, codec, log, server, through):
    sample = jpeg(side)
    seconds = await medians(
        {
            "codec": lambda: develop_all(codec, sample.upload, count),
            "log": lambda: log.write([sample.values] * count),
            "server": lambda: server.upload([sample.upload] * count),
            "gateway": lambda: through.upload([sample.upload] * count),
        }
    )
    bare = ("codec", "log", "server")
    seconds["in turn"] = sum(seconds[name] for name in bare)
    sizes = {"upload": kilobytes(len(sample.upload)), "stored": kilobytes(sample.stored_bytes)}
    cells = sizes | rates(len(sample.upload), count, seconds)
    return cells | ratios("gateway", seconds, (*bare, "in turn"))


async def develop_all(pool, data, count):
    """Develop an image so many times, in every process of a pool."""
    loop = asyncio.get_running_loop()
    # More shares than workers: on a shared machine one of two often takes longer.
    shares = [count // IN_FLIGHT] * IN_FLIGHT
    await asyncio.gather(*(loop.run_in_executor(pool, _loop, data, share) for share in shares))


def _loop(data, count):
    for _ in range(count):
        develop(data, ImageLimits())
