"""Embedded logs, and `imagegate import` from one into another."""

import random
from contextlib import asynccontextmanager

from app.log.sqlite.log import SqliteLog
from tests.support import commands, images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process

SCOPES = ("images:write", "images:read", "images:list", "images:delete")


CHUNK_BYTES = 16_384


def pictures(count, seed=1):
    """Bytes of many sizes, a fifth of them larger than a chunk."""
    order = random.Random(seed)
    return [order.randbytes(order.choice((900, 2_000, 5_000, 9_000, 40_000))) for _ in range(count)]


def photo(seed):
    return images.jpeg(images.photo((80, 60), seed=seed))


class Logs:
    """Gateways on folders, of which one is run at a time, with two keys that they share."""

    def __init__(self, folder):
        self.folder = folder
        self.source.mkdir()
        self.headers = {name: bearer(make_key(self.source, *SCOPES)) for name in ("one", "other")}

    @property
    def source(self):
        return self.folder / "source"

    @property
    def target(self):
        return self.folder / "target"

    def gateway(self, folder):
        return in_process(folder, access={"keys_file": self.source / "keys.json"})

    def move(self, *arguments, source=None, target=None, status=0):
        return commands.run(
            "import",
            source or self.source,
            *arguments,
            status=status,
            IMAGEGATE_DATA_DIR=target or self.target,
        )


async def upload(client, data, headers=None, **options):
    answer = await client.post("/images", content=data, params=options, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(client, headers):
    return (await client.get("/images?limit=1000", headers=headers)).json()["images"]


@asynccontextmanager
async def opened(folder):
    """The log in a folder, without a gateway."""
    log = SqliteLog(folder)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()
