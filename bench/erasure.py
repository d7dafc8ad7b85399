"""What it costs that images are erased by their keys: appends and uploads, retention against shred.

Both sides encrypt. Times are of alternating rounds; CPU is that of the process that appends, or of
the gateway, in milliseconds an image.
"""

import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import replace

from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from app.records.writer import ImageWriter
from app.sealing.data_keys import DataKeys
from app.sealing.local_keys import LocalKeys
from bench.cpu import cpu_seconds
from bench.http_client import Client, connected
from bench.rounds import IN_FLIGHT, medians, spread
from bench.samples import jpeg, kilobytes
from bench.targets import gateway
from tests.support import facts
from tests.support.sealing import K1, ring

# Side of the picture, and images a round: about 50 KB and 500 KB.
CASES = ((268, 320), (870, 64))


async def tables(target, folder):
    """Yield a title and the rows of each table."""
    async with AsyncExitStack() as stack:
        prefix = f"{target.unused_name()}-"
        kafka = KafkaSettings(
            bootstrap_servers=target.servers, topic_prefix=prefix, erasure="shred"
        )
        log = KafkaLog(kafka)
        await log.start()
        stack.push_async_callback(log.stop)
        keys = DataKeys(LocalKeys(lambda: {"k1": K1}))
        sides = {
            "clear": ImageWriter(log),
            "retention": ImageWriter(log, keys=keys),
            "shred": ImageWriter(log, keys=keys, shreds=True),
        }
        for at_once in (1, IN_FLIGHT):
            rows = [await _appends(side, count, log, sides, at_once) for side, count in CASES]
            yield f"Appends, {at_once} at once: ms an image", rows
        clients, processes = {}, {}
        shared = {"IMAGEGATE_SEALING__KEYS": ring(k1=K1)}
        settings = {
            "clear": {},
            "retention": shared,
            "shred": shared | {"IMAGEGATE_KAFKA__ERASURE": "shred"},
        }
        for name, each in settings.items():
            process = stack.enter_context(gateway(target, folder / name, **each))
            clients[name] = Client(await stack.enter_async_context(connected(*process.address)))
            processes[name] = process.process.pid
        rows = [await _uploads(side, count // 4, clients, processes) for side, count in CASES]
        yield f"Uploads, {IN_FLIGHT} at once: ms an image", rows


async def _appends(side, count, log, writers, at_once):
    data = jpeg(side).upload
    info = replace(facts.INFO, content_length=len(data), stored_bytes=len(data))
    count = count if at_once > 1 else count // 4

    def run(writer):
        async def one(_, each):
            await writer.write(each, info, None, log.deadline())

        return lambda: spread(one, [data] * count, range(at_once))

    runs = {name: run(each) for name, each in writers.items()}
    seconds = await medians(runs)
    cpu = await medians(runs, time.process_time)
    return _row(data, count, seconds) | {
        f"CPU {name}": f"{each / count * 1000:.2f}" for name, each in cpu.items()
    }


async def _uploads(side, count, clients, processes):
    data = jpeg(side).upload
    used = {name: [] for name in clients}

    def run(name):
        async def upload():
            before = cpu_seconds(processes[name])
            await clients[name].upload([data] * count)
            used[name].append(cpu_seconds(processes[name]) - before)

        return upload

    seconds = await medians({name: run(name) for name in clients})
    # Without the round that warms up.
    cpu = {name: statistics.median(each[1:]) for name, each in used.items()}
    return _row(data, count, seconds) | {
        f"CPU {name}": f"{each / count * 1000:.2f}" for name, each in cpu.items()
    }


def _row(data, count, seconds):
    return {"image": kilobytes(len(data))} | {
        name: f"{each / count * 1000:.2f}" for name, each in seconds.items()
    }
