"""How much of the codec's speed is left of an upload: HTTP, log and event against the bare loop.

Alternates rounds of both in one run, as machines are noisy, and prints medians and their ratio. The
bare loop has the gateway's own codec workers and nothing else. With an argument, `host:port`, the
gateway writes to that Kafka instead of the embedded log.

    make bench ARGS=127.0.0.1:9092
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from app.codec_pool import CodecPool
from app.imaging.develop import develop
from app.imaging.limits import ImageLimits
from tests import images
from tests.gateway_process import GatewayProcess

ROUNDS = 5
# Uploads a round and side of the picture, for about 50 KB, 500 KB and 5 MB.
CASES = ((60, 330), (30, 1040), (6, 3300))
IN_FLIGHT = 8


async def many(count, work):
    """Run `work` so often, several at once; return the seconds that it took."""
    turns = asyncio.Semaphore(IN_FLIGHT)

    async def one():
        async with turns:
            await work()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
    return time.perf_counter() - started


async def compare(count, data, pool, client):
    """Return the medians of both, in megabytes a second."""

    async def bare():
        await pool.run(develop, data, ImageLimits())

    async def upload():
        response = await client.post("/images", content=data)
        response.raise_for_status()

    seconds = {bare: [], upload: []}
    for _ in range(ROUNDS):
        for work, taken in seconds.items():
            taken.append(await many(count, work))
    return [len(data) * count / statistics.median(taken) / 1e6 for taken in seconds.values()]


async def main(kafka):
    settings = {}
    if kafka:
        settings["IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS"] = kafka
        settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"] = f"bench-{uuid.uuid4().hex[:8]}-"
    workers = os.cpu_count() or 1
    pool = CodecPool(workers=workers, deadline_seconds=60, memory_bytes=2_000_000_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        GatewayProcess(Path(folder), **settings) as gateway,
    ):
        gateway.start()
        async with pool, gateway.async_client() as client:
            print("    upload    bare codec       gateway  ratio")
            for count, side in CASES:
                data = images.jpeg(images.photo((side, side), noise=60), quality=95)
                bare, through = await compare(count, data, pool, client)
                print(
                    f"{len(data) / 1000:7,.0f} KB {bare:8.1f} MB/s {through:8.1f} MB/s"
                    f" {through / bare:6.2f}"
                )
        gateway.terminate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
