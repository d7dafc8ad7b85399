"""The way in without HTTP and codec workers: a client, a pool and a log that do as a test says."""

import asyncio
from contextlib import asynccontextmanager

from app.budget import ByteBudget
from app.catalog.catalog import Catalog
from app.imaging.formats import ACCEPTED
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Recipe
from app.ingest.claims import Claims
from app.ingest.development import Development
from app.ingest.ingest import Ingest
from app.ingest.intake import COPIES
from app.ingest.once import Once
from app.ingest.publish import Publisher
from app.ingest.quota import Quota
from app.ingest.repeats import Repeats
from app.ingest.upload import Upload
from app.log import EVENTS, IMAGES
from app.log.sqlite.log import SqliteLog
from app.sealing.data_keys import NO_KEYS
from tests.support.developing import as_it_came
from tests.support.world import following

TOTAL = 100_000_000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
# Long enough for a catalog that works.
LISTING_SECONDS, DRAIN_SECONDS = 0.5, 3.0


class Pool:
    """Hands the upload back as it is, when it may; codec workers have tests of their own."""

    def __init__(self):
        self.may = asyncio.Event()
        self.may.set()
        self.error = None

    async def run(self, _task, data, _client):
        await self.may.wait()
        if self.error:
            raise self.error
        return as_it_came(data, "image/png")


class Client:
    """A `Source` that announces and sends these bytes, when it may."""

    def __init__(self, data=PNG, max_bytes=None, error=None, claim=None, token=None):
        self.data = data
        self.client, self.owner = "192.0.2.1", ""
        self.max_bytes = max_bytes or len(data)
        self.formats = ACCEPTED
        self.claim, self.token = claim, token
        self.error = error
        self.received = False
        self.may = asyncio.Event()
        self.may.set()
        self.gone = asyncio.Event()

    async def left(self):
        await self.gone.wait()
        raise ConnectionError("the client has left")

    async def receive(self, reservation):
        self.received = True
        await self.may.wait()
        if self.error:
            raise self.error
        await reservation.grow(COPIES * len(self.data))
        return Upload(self.data, "a.png", Recipe())


class Faults:
    """Stands between the way in and the log: appends wait, or end as a test says.

    Unless it has `pairs`, the log appends two records one after the other, as Kafka does.

    `errors[topic]` are the errors that appends end with, in order; None lets one through.
    """

    def __init__(self, log, monkeypatch, *, pairs=False):
        self.errors = {IMAGES: [], EVENTS: []}
        self.may = asyncio.Event()
        self.may.set()
        self.appended = []
        append = log.append

        async def faulty(topic, records, deadline=None):
            self.appended.append((topic, len(records)))
            await self.may.wait()
            error = next(iter(self.errors[topic]), None)
            del self.errors[topic][:1]
            if error:
                raise error
            return await append(topic, records, deadline)

        async def apart(topic, record, next_topic, following, deadline=None):
            [first] = await log.append(topic, [record], deadline)
            return [first, *await log.append(next_topic, [following(first)], deadline)]

        monkeypatch.setattr(log, "append", faulty)
        if not pairs:
            monkeypatch.setattr(log, "append_pair", apart)


class Way:
    """The way in and everything that it needs."""

    def __init__(self, log, catalog, feed, faults):
        self.log, self.catalog, self.feed, self.faults = log, catalog, feed, faults
        self.pool = Pool()
        self.budget = ByteBudget(TOTAL, patience_seconds=0)
        self.claims = Claims(catalog, feed)
        self.once = Once(log, catalog, feed, NO_KEYS)
        self.publisher = Publisher(log, self.claims, self.once, drain_seconds=DRAIN_SECONDS)
        limits = ImageLimits(max_pixels=10**9, max_side=10**5, max_frames=1000)
        self.ingest = Ingest(
            self.publisher,
            catalog,
            feed,
            Development(self.pool, limits, packing_seconds=1),
            self.budget,
            self.claims,
            self.once,
            Quota(catalog),
            Repeats(catalog, feed, catalog.image),
            listing_seconds=LISTING_SECONDS,
        )

    @property
    def held_bytes(self):
        return TOTAL - self.budget._free_bytes

    async def listed(self):
        await self.feed.caught_up()
        return [image.id for image in await self.catalog.newest(100)]


@asynccontextmanager
async def way_in(folder, monkeypatch, *, pairs=False, **options):
    """A way in on a log of its own, with a catalog that follows it.

    With `pairs`, the head and the event of an image are one step.
    """
    log, catalog = SqliteLog(folder / "log", **options), Catalog(folder / "catalog.db")
    await log.start()
    async with following(log, catalog) as feed:
        await feed.caught_up()
        way = Way(log, catalog, feed, Faults(log, monkeypatch, pairs=pairs))
        yield way
        await way.publisher.drain()
    await log.stop()
