"""Keys that encrypt images, and what is to be found of an image in a log."""

import asyncio
import base64
import hashlib
from contextlib import aclosing

from app.log import EVENTS, IMAGES, KEYS, REJECTS
from tests.support import images

K1, K2, OTHER = b"1" * 32, b"2" * 32, b"o" * 32
# In no other place of a record could this stand by chance.
NAME = "Zeugin-Ottilie-Zwirnmeier.png"
SMALL = images.jpeg(images.photo((160, 120)))
PACKED = images.jpeg(images.photo((640, 480), noise=8))
# Noise does not compress: 2.7 MB, in three records.
LARGE = images.png(images.photo((1200, 750), noise=255), compress_level=1, private=False)


def ring(**named):
    """The value of the setting for these keys: `ring(k2=K2, k1=K1)`."""
    return ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in named.items())


def sealing(**named):
    """The section of a gateway with these keys; without any, of one that has none."""
    return {"sealing": {"keys": ring(**named)}} if named else {}


async def all_records(log, topics=(IMAGES, EVENTS, REJECTS, KEYS)):
    """Every record in the log, or in these topics, by its topic."""
    found = []
    for topic in topics:
        for partition in range(log.partitions(topic)):
            end = (await log.bounds(topic, partition)).end
            if end == 0:
                continue
            async with aclosing(log.tail(topic, partition, 0)) as tail:
                async for batch in tail:
                    found += [(topic, record) for record in batch.records]
                    if batch.next_offset >= end:
                        break
    return found


def dump(records):
    """The bytes of records, headers included."""
    return b"\n".join(
        b"\n".join(
            [
                record.key or b"",
                record.value or b"",
                *(name.encode() + b": " + (value or b"") for name, value in record.headers),
            ]
        )
        for _, record in records
    )


async def until_named(client, image_id, filename):
    """Wait until an image is listed under this file name."""
    async with asyncio.timeout(15):
        while (await client.gateway.catalog.image(image_id)).info.filename != filename:
            await asyncio.sleep(0.02)


async def upload(client, data, profile="original", name=NAME, **options):
    response = await client.post(
        "/images",
        files={"file": (name, data, "image/png")},
        params={"profile": profile} | options,
    )
    assert response.status_code == 201, response.text
    return response.json()


async def check_out(client, image):
    """Check an image by every way out that is no stream."""
    whole = await client.get(image["url"])
    assert whole.status_code == 200, whole.text
    assert f"sha256:{hashlib.sha256(whole.content).hexdigest()}" == image["digest"]
    stem = NAME.rpartition(".")[0]
    assert stem in whole.headers["content-disposition"]
    head = await client.head(image["url"])
    assert head.headers["content-disposition"] == whole.headers["content-disposition"]
    length = len(whole.content)
    for start, end in ((0, 1), (7, 99), (999_980, 999_990), (length - 5, length)):
        if start < length:
            part = await client.get(image["url"], headers={"range": f"bytes={start}-{end - 1}"})
            assert (part.status_code, part.content) == (206, whole.content[start:end])
    again = await client.get(image["url"], headers={"if-none-match": whole.headers["etag"]})
    assert again.status_code == 304
    assert (await client.get(f"{image['url']}/metadata")).json() == image
