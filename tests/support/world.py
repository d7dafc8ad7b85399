"""A log and the parts that follow it, without a gateway around them."""

import asyncio
import json
import shutil
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from app.catalog.catalog import Catalog
from app.errors import CatalogDamagedError
from app.events.event import encode
from app.feed.expiry import Expiry
from app.feed.feed import Feed
from app.feed.follow import Follower
from app.log import EVENTS, REJECTS, Record
from app.log.sqlite.log import SqliteLog

POISON = Record(b"stranger", b'{"specversion": "1.0", "type": "painted"}')


@asynccontextmanager
async def following(log, catalog, retry_seconds=0.01, **pace):
    """Have `catalog` follow the events in `log`; yield the feed. The catalog is closed as well."""
    feed, expiry = Feed(log), Expiry(log, catalog, **pace)
    follower = Follower(log, catalog, feed, expiry, retry_seconds=retry_seconds)
    await follower.start()
    expiry.start()
    try:
        yield feed
    finally:
        await expiry.stop()
        await follower.stop()
        await catalog.close()


class World:
    """One log in a folder; feeds and their catalogs come and go."""

    def __init__(self, folder):
        self.folder = folder
        self.log = None
        self._logs = AsyncExitStack()
        self._running = AsyncExitStack()

    async def new_log(self, name="log", **options):
        """Use another log from now on."""
        self.log = SqliteLog(self.folder / name, image_partitions=2, **options)
        await self.log.start()
        self._logs.push_async_callback(self.log.stop)
        return self.log

    async def append(self, *events):
        """Append events or raw records to the log, in this order."""
        return await self.log.append(
            EVENTS, [each if isinstance(each, Record) else encode(each) for each in events]
        )

    async def follow(self, name="catalog.db", *, caught_up=True, **pace):
        """Start a feed and its catalog; wait until everything is applied."""
        catalog = Catalog(self.folder / name)
        feed = await self._running.enter_async_context(following(self.log, catalog, **pace))
        if caught_up:
            await asyncio.wait_for(feed.caught_up(), 10)
        return feed, catalog

    async def stop(self):
        """Stop everything but the log, cleanly."""
        await self._running.aclose()

    def kill(self, name="killed.db"):
        """Copy the catalog's files as they are at one moment, which is how kill -9 leaves them.

        A checkpoint first writes pages into the file, then empties the write-ahead log: a copy of
        the file from before, and of the log from after, is none that any moment has.
        """
        log, copy = self.folder / "catalog.db-wal", self.folder / f"{name}-wal"
        while True:
            shutil.copy(log, copy)
            shutil.copy(self.folder / "catalog.db", self.folder / name)
            if copy.read_bytes() == log.read_bytes():
                break
        return name

    async def letters(self):
        """The dead letters as (key, JSON)."""
        bounds = await self.log.bounds(REJECTS, 0)
        if bounds.end == 0:
            return []
        async with aclosing(self.log.tail(REJECTS, 0, 0)) as tail:
            batch = await anext(tail)
        return [(record.key.decode(), json.loads(record.value)) for record in batch.records]

    async def close(self):
        await self.stop()
        await self._logs.aclose()


async def facts(catalog):
    return [(fact.sequence, fact.type, fact.image_id) for fact in await catalog.facts(-1, 10_000)]


async def listed(catalog):
    return [image.sequence for image in await catalog.newest(10_000)]


async def until_listed(catalog, sequences):
    """Wait until the catalog lists these, the newest first."""
    async with asyncio.timeout(10):
        while await listed(catalog) != sequences:
            await asyncio.sleep(0.01)


def find_damaged(catalog, monkeypatch):
    """Have the next check of the catalog find damage."""
    check, damage = catalog.check, [CatalogDamagedError("The catalog is damaged: provoked.")]

    def check_once():
        if damage:
            raise damage.pop()
        check()

    monkeypatch.setattr(catalog, "check", check_once)


def starts_of_tails(log, monkeypatch):
    """The offsets at which the events are tailed from now on."""
    starts, tail = [], log.tail

    def spy(topic, partition, start):
        if topic == EVENTS:
            starts.append(start)
        return tail(topic, partition, start)

    monkeypatch.setattr(log, "tail", spy)
    return starts
