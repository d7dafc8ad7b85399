"""The cost of encryption: images in clear and encrypted, in alternating rounds on one Kafka.

*append* writes the records of an image, as a gateway does, with a key of its own for each that is
encrypted; *upload* is the whole way through a gateway over HTTP, and *download* the way back,
without a cache. Keys are those of a keyring.
"""

from contextlib import AsyncExitStack
from dataclasses import replace

from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from app.records.writer import ImageWriter
from app.sealing.data_keys import NO_KEYS, DataKeys
from app.sealing.local_keys import LocalKeys
from bench.http_client import Client, connected
from bench.rounds import IN_FLIGHT, medians, rates, spread
from bench.samples import jpeg, kilobytes
from bench.targets import gateway
from tests.support import facts
from tests.support.sealing import K1, ring

# Side of the picture, and images a round: about 50 KB, 500 KB and 5 MB.
CASES = ((268, 640), (870, 128), (2754, 12))


async def tables(target, folder):
    """Yield a title and the rows of each table."""
    async with AsyncExitStack() as stack:
        prefix = f"{target.unused_name()}-"
        log = KafkaLog(KafkaSettings(bootstrap_servers=target.servers, topic_prefix=prefix))
        await log.start()
        stack.push_async_callback(log.stop)
        keys = {"clear": NO_KEYS, "encrypted": DataKeys(LocalKeys(lambda: {"k1": K1}))}
        writers = {name: ImageWriter(log, keys=each) for name, each in keys.items()}
        rows = [await _row(side, count, _append, log, writers) for side, count in CASES]
        yield "Encryption: appends in MB/s", rows
        settings = {"clear": {}, "encrypted": {"IMAGEGATE_SEALING__KEYS": ring(k1=K1)}}
        clients = {}
        for name, each in settings.items():
            process = gateway(target, folder / name, IMAGEGATE_DELIVERY__CACHE_BYTES=0, **each)
            address = stack.enter_context(process).address
            clients[name] = Client(await stack.enter_async_context(connected(*address)))
        rows = [await _row(side, count // 4, _upload, log, clients) for side, count in CASES]
        yield "Encryption: uploads in MB/s", rows
        rows = [await _row(side, count, _download, log, clients) for side, count in CASES]
        yield "Encryption: downloads in MB/s", rows


async def _row(side, count, work, log, sides):
    data = jpeg(side).upload
    runs = {name: await work(log, each, data, count) for name, each in sides.items()}
    seconds = await medians(runs)
    loss = 1 - seconds["clear"] / seconds["encrypted"]
    return (
        {"image": kilobytes(len(data))}
        | rates(len(data), count, seconds)
        | {"slower": f"{loss:.1%}"}
    )


async def _append(log, writer, data, count):
    info = replace(facts.INFO, content_length=len(data), stored_bytes=len(data))

    async def one(_, each):
        await writer.write(each, info, None, log.deadline())

    return lambda: spread(one, [data] * count, range(IN_FLIGHT))


async def _upload(_, client, data, count):
    return lambda: client.upload([data] * count)


async def _download(_, client, data, count):
    [path] = await client.upload([data])
    return lambda: client.download([path] * count)
