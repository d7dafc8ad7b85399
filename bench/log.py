"""`KafkaLog` against the bare clients that it uses, and against a bridge in Go.

Writes, in MB/s of uploaded bytes, all sides in the same rounds on the same broker:

- *pool n*: n bare aiokafka producers that own the partitions between them;
- *bridge*: HTTP to Kafka in Go, the body as one record;
- *append*: `KafkaLog.append` of the records of an image; *+ event*: and of its event;
- *no codec*: uploads over HTTP to a gateway that hands nothing to its codec workers, and stores
  every image as uploaded; *gateway*: to an unchanged gateway;
- *codec*: the codec alone, in as many processes as the gateway has workers.

Reads: bare Fetch requests, `KafkaLog.read`, and downloads from a gateway without a cache. Waiting:
how much later a small image is stored while large ones are.
"""

import asyncio
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice

from app.events.event import ImageStored, encode
from app.log import EVENTS, IMAGES
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from app.records import image as records
from app.records.address import Address, new_cookie
from bench import bridge
from bench.http_client import Client, connected
from bench.ingest import WORKERS, develop_all
from bench.rounds import IN_FLIGHT, medians, rates, ratios, spread
from bench.samples import jpeg, kilobytes
from bench.targets import gateway
from tests.support import facts

POOLS = (1, 2, 4)
# Side of the picture and uploads a round, for about 50 KB, 500 KB and 5 MB.
WRITES = ((268, 320), (870, 64), (2754, 8))
READS = ((400, 32, 640), (1290, 16, 320), (4090, 4, 48))
# 50 KB and 20 MB; seconds for each measurement.
SMALL, LARGE, WAITING_SECONDS = 50_000, 20_000_000, 8.0
_NO_CODEC = "from bench import no_codec; no_codec.install()"


async def tables(target, folder):
    """Yield a title and the rows of each table."""
    yield "Writes to Kafka in MB/s", await _writes(target, folder)
    yield "Reads from Kafka in MB/s", await _reads(target, folder)
    yield "Waiting behind large images", await _waiting(target)


class _Images:
    """Images appended to, and read from, a `KafkaLog` as the gateway does."""

    def __init__(self, log):
        self._log = log

    async def append(self, data, count, *, announce=False):
        """Append so many images; return the positions of each one's records."""
        stored = []

        async def one(_, data):
            cookie, view = new_cookie(), memoryview(data)
            size = records.chunk_bytes(self._log.max_record_bytes(IMAGES))
            chunks = records.chunk_records(cookie, view, size)
            positions = await self._log.append(IMAGES, chunks) if chunks else []
            head = records.head_record(cookie, view, facts.INFO, size, positions)
            [position] = await self._log.append(IMAGES, [head])
            if announce:
                event = ImageStored(str(Address(position, cookie)), facts.INFO)
                await self._log.append(EVENTS, [encode(event)])
            stored.append([position, *positions])

        await spread(one, [data] * count, range(IN_FLIGHT))
        return stored

    async def read(self, images):
        """Read every record of the images."""

        async def one(_, positions):
            for position in positions:
                await self._log.read(IMAGES, position)

        await spread(one, images, range(IN_FLIGHT))


@asynccontextmanager
async def _log_on(target):
    log = KafkaLog(
        KafkaSettings(bootstrap_servers=target.servers, topic_prefix=f"{target.unused_name()}-")
    )
    await log.start()
    try:
        yield _Images(log)
    finally:
        await log.stop()


async def _writes(target, folder):
    async with AsyncExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        codec = stack.enter_context(ProcessPoolExecutor(WORKERS, context))
        pools = {
            f"pool {size}": await stack.enter_async_context(target.bare(folder, producers=size))
            for size in POOLS
        }
        log = await stack.enter_async_context(_log_on(target))
        addresses = {
            "no codec": stack.enter_context(
                gateway(target, folder / "no-codec", before=_NO_CODEC)
            ).address,
            "gateway": stack.enter_context(gateway(target, folder / "whole")).address,
        }
        if reason := bridge.why_not():
            print(f"Not measured, the bridge: {reason}.")
        else:
            topic = await stack.enter_async_context(target.bare(folder, max_bytes=2 * LARGE))
            addresses["bridge"] = stack.enter_context(
                bridge.bridge(target.servers, topic.name, folder)
            )
        clients = {
            name: Client(await stack.enter_async_context(connected(*address)))
            for name, address in addresses.items()
        }
        return [await _write_row(*case, codec, pools, log, clients) for case in WRITES]


async def _write_row(side, count, codec, pools, log, clients):
    data = jpeg(side).upload
    values = [bytes(data[at : at + records.CHUNK_BYTES]) for at in _starts(data)]

    def write(pool):
        return lambda: pool.write([values] * count)

    def upload(client):
        return lambda: client.upload([data] * count)

    seconds = await medians(
        {name: write(pool) for name, pool in pools.items()}
        | {
            "append": lambda: log.append(data, count),
            "+ event": lambda: log.append(data, count, announce=True),
        }
        | {name: upload(client) for name, client in clients.items()}
        | {"codec": lambda: develop_all(codec, data, count)}
    )
    best = min(pools, key=seconds.__getitem__)
    seconds["best pool"] = seconds[best]
    cells = {"image": kilobytes(len(data))} | rates(len(data), count, seconds)
    cells |= ratios("append", seconds, ("best pool",))
    return cells | ratios("no codec", seconds, ("bridge",) if "bridge" in seconds else ())


def _starts(data):
    return range(0, len(data), records.CHUNK_BYTES)


async def _reads(target, folder):
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(target.bare(folder))
        log = await stack.enter_async_context(_log_on(target))
        process = gateway(target, folder / "reads", IMAGEGATE_DELIVERY__CACHE_BYTES=0)
        address = stack.enter_context(process).address
        client = Client(await stack.enter_async_context(connected(*address)))
        return [await _read_row(*case, bare, log, client) for case in READS]


async def _read_row(side, images, count, bare, log, client):
    sample = jpeg(side)
    data = b"".join(sample.values)
    bare_addresses, positions, paths = [], [], []
    # One by one: images that are written at once may share a batch, and are then fetched at once.
    for _ in range(images):
        bare_addresses += await bare.write([sample.values])
        positions += await log.append(data, 1)
        paths += await client.upload([sample.upload])

    def turns(addresses):
        return list(islice(cycle(addresses), count))

    seconds = await medians(
        {
            "fetch": lambda: bare.read(turns(bare_addresses)),
            "read": lambda: log.read(turns(positions)),
            "GET": lambda: client.download(turns(paths)),
        }
    )
    cells = {"image": kilobytes(len(data))} | rates(len(data), count, seconds)
    return cells | ratios("read", seconds, ("fetch",)) | ratios("GET", seconds, ("fetch",))


async def _waiting(target):
    async with _log_on(target) as log:
        small, large = bytes(SMALL), bytes(LARGE)
        transfer, alone = await _each(log, large), await _each(log, small)
        _, behind = await asyncio.gather(_each(log, large), _each(log, small))
        return [
            {"appended": name, "median": _ms(statistics.median(each)), "worst": _ms(max(each))}
            for name, each in (
                ("20 MB alone", transfer),
                ("50 KB alone", alone),
                ("50 KB beside 20 MB", behind),
            )
        ]


async def _each(log, data):
    """Return the seconds that each append takes, one after the other."""
    taken, ends = [], time.monotonic() + WAITING_SECONDS
    while time.monotonic() < ends:
        started = time.perf_counter()
        await log.append(data, 1)
        taken.append(time.perf_counter() - started)
    return taken


def _ms(seconds):
    return f"{seconds * 1000:,.0f} ms"
