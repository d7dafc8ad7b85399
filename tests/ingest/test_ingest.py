"""The way in: what an answer promises, and when the memory of an upload is free again."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest

from app.api.schemas import path_of
from app.budget import ByteBudget
from app.catalog.catalog import Catalog
from app.errors import (
    BodyTooLargeError,
    CatalogDamagedError,
    InvalidImageError,
    LogUnavailableError,
    NotReadyError,
    NotWrittenError,
    OutcomeUnknownError,
    UnsupportedFormatError,
)
from app.feed.feed import Feed
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Recipe
from app.ingest import ingest as ingest_module
from app.ingest.ingest import COPIES, Ingest, Upload
from app.log import EVENTS, IMAGES
from app.log.sqlite.log import SqliteLog
from tests.support import images
from tests.support.developing import as_it_came
from tests.support.facts import until
from tests.support.in_process import problem

TOTAL = 100_000_000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)


class Pool:
    """Hands the upload back as it is, when it may; codec workers have tests of their own."""

    def __init__(self):
        self.may = asyncio.Event()
        self.may.set()
        self.error = None

    async def run(self, _function, data, _image_format, _limits, _recipe):
        await self.may.wait()
        if self.error:
            raise self.error
        return as_it_came(data, "image/png")


class Client:
    """A `Source` that announces and sends these bytes, when it may."""

    def __init__(self, data=PNG, max_bytes=None, error=None):
        self.data = data
        self.max_bytes = max_bytes or len(data)
        self.error = error
        self.received = False
        self.may = asyncio.Event()
        self.may.set()
        self.gone = asyncio.Event()

    async def left(self):
        await self.gone.wait()
        raise ConnectionError("the client has left")

    async def receive(self):
        self.received = True
        await self.may.wait()
        if self.error:
            raise self.error
        return Upload(self.data, "a.png", Recipe())


class Faults:
    """Stands between the way in and the log: appends wait, or end as a test says.

    `errors[topic]` is what each append ends with, in order; None lets it through.
    """

    def __init__(self, log, monkeypatch):
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

        monkeypatch.setattr(log, "append", faulty)


class Way:
    """The way in and everything that it needs, on a log of small records."""

    def __init__(self, log, catalog, feed, faults):
        self.log, self.catalog, self.feed, self.faults = log, catalog, feed, faults
        self.pool = Pool()
        self.budget = ByteBudget(TOTAL, patience_seconds=0)
        limits = ImageLimits(max_pixels=10**9, max_side=10**5, max_frames=1000)
        self.ingest = Ingest(log, catalog, feed, self.pool, limits, self.budget)

    @property
    def held_bytes(self):
        return TOTAL - self.budget._free_bytes

    async def listed(self):
        await self.feed.caught_up()
        return [image.id for image in await self.catalog.newest(100)]


@asynccontextmanager
async def way_in(folder, monkeypatch, **options):
    log, catalog = SqliteLog(folder / "log", **options), Catalog(folder / "catalog.db")
    await log.start()
    feed = Feed(log, catalog)
    await feed.start()
    await feed.caught_up()
    way = Way(log, catalog, feed, Faults(log, monkeypatch))
    yield way
    await way.ingest.drain()
    await feed.stop()
    await catalog.close()
    await log.stop()


@pytest.fixture
async def way(tmp_path, monkeypatch):
    async with way_in(tmp_path, monkeypatch) as way:
        yield way


@pytest.fixture
async def chunked_way(tmp_path, monkeypatch):
    """Records are so small that the picture has a head and five chunks."""
    async with way_in(tmp_path, monkeypatch, max_record_bytes=32_768 + 900) as way:
        yield way


def settling():
    """A log's promise that it has let go of the records; and how to keep it."""
    settled = asyncio.get_running_loop().create_future()
    return settled, lambda: settled.set_result(None)


class TestOutcomes:
    async def test_a_client_that_leaves_while_its_image_is_developed_ends_the_work(self, way):
        way.pool.may.clear()
        client = Client()
        taking = asyncio.create_task(way.ingest.take(client))
        while not client.received:
            await asyncio.sleep(0)
        client.gone.set()
        with pytest.raises(ConnectionError):
            await taking
        assert way.held_bytes == 0

    async def test_an_image_is_answered_though_the_catalog_is_damaged(self, way, monkeypatch):
        async def damaged(_image_id):
            raise CatalogDamagedError("The catalog is damaged.")

        monkeypatch.setattr(way.catalog, "image", damaged)
        receipt = await way.ingest.take(Client())
        assert receipt.listed is None
        monkeypatch.undo()
        assert await way.listed() == [receipt.image_id]

    async def test_a_stored_image_is_listed_and_its_memory_is_free(self, way):
        receipt = await way.ingest.take(Client())
        assert await way.listed() == [receipt.image_id] == [receipt.listed.id]
        assert receipt.listed.sequence == 0
        assert way.faults.appended == [(IMAGES, 1), (EVENTS, 1)]
        assert way.held_bytes == 0

    async def test_chunks_go_first_then_the_head_then_the_event(self, chunked_way):
        await chunked_way.ingest.take(Client())
        assert chunked_way.faults.appended == [(IMAGES, 5), (IMAGES, 1), (EVENTS, 1)]

    async def test_what_was_not_written_is_not_written(self, way):
        way.faults.errors[IMAGES] = [NotWrittenError("The broker is away.")]
        with pytest.raises(NotWrittenError):
            await way.ingest.take(Client())
        assert way.faults.appended == [(IMAGES, 1)]
        assert await way.listed() == []
        assert way.held_bytes == 0

    async def test_a_head_without_an_answer_is_unknown_and_never_announced(self, way):
        settled, settle = settling()
        way.faults.errors[IMAGES] = [OutcomeUnknownError("No answer.", (), settled)]
        with pytest.raises(OutcomeUnknownError):
            await way.ingest.take(Client())
        assert way.faults.appended == [(IMAGES, 1)]
        assert way.held_bytes == COPIES * len(PNG)
        settle()
        await until(lambda: way.held_bytes == 0)

    async def test_lost_chunks_mean_that_nothing_was_stored(self, chunked_way):
        way, (settled, settle) = chunked_way, settling()
        way.faults.errors[IMAGES] = [OutcomeUnknownError("No answer.", (), settled)]
        with pytest.raises(NotWrittenError):
            await way.ingest.take(Client())
        assert way.faults.appended == [(IMAGES, 5)]
        assert await way.listed() == []
        assert way.held_bytes == COPIES * len(PNG)
        settle()
        await until(lambda: way.held_bytes == 0)

    async def test_an_event_that_was_not_written_leaves_no_image(self, way):
        way.faults.errors[EVENTS] = [NotWrittenError("The broker is away.")]
        with pytest.raises(NotWrittenError):
            await way.ingest.take(Client())
        assert await way.listed() == []
        assert way.held_bytes == 0

    async def test_an_event_without_an_answer_is_unknown(self, way):
        settled, settle = settling()
        way.faults.errors[EVENTS] = [OutcomeUnknownError("No answer.", (), settled)]
        with pytest.raises(OutcomeUnknownError):
            await way.ingest.take(Client())
        assert way.held_bytes == COPIES * len(PNG)
        settle()
        await until(lambda: way.held_bytes == 0)

    @pytest.mark.parametrize("error", [NotWrittenError("x"), OutcomeUnknownError("x")])
    async def test_a_log_that_holds_nothing_any_longer_frees_the_memory_at_once(self, way, error):
        way.faults.errors[IMAGES] = [error]
        with pytest.raises(type(error)):
            await way.ingest.take(Client())
        assert way.held_bytes == 0

    async def test_a_mistake_of_our_own_frees_the_memory(self, way):
        way.faults.errors[IMAGES] = [ValueError("our own")]
        with pytest.raises(ValueError, match="our own"):
            await way.ingest.take(Client())
        assert way.held_bytes == 0

    async def test_an_image_is_answered_though_the_feed_lags(self, way, monkeypatch):
        monkeypatch.setattr(ingest_module, "_LISTING_SECONDS", 0.01)
        applying = asyncio.Event()

        async def lag(*_):
            applying.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(way.catalog, "apply", lag)
        receipt = await way.ingest.take(Client())
        assert receipt.listed is None
        assert applying.is_set()


class TestBudget:
    async def test_memory_is_held_from_before_the_first_byte_until_it_is_in_the_log(self, way):
        client = Client(max_bytes=20_000)
        client.may.clear()
        way.pool.may.clear()
        way.faults.may.clear()
        taking = asyncio.create_task(way.ingest.take(client))
        await until(lambda: client.received)
        assert way.held_bytes == COPIES * 20_000
        client.may.set()
        await until(lambda: way.held_bytes == COPIES * len(PNG))
        way.pool.may.set()
        await until(lambda: way.faults.appended)
        assert way.held_bytes == COPIES * len(PNG)
        way.faults.may.set()
        await taking
        assert way.held_bytes == 0

    async def test_nothing_is_received_before_the_feed_has_caught_up(self, way, monkeypatch):
        monkeypatch.setattr(way.feed._state, "caught_up_once", False)
        client = Client()
        with pytest.raises(NotReadyError):
            await way.ingest.take(client)
        assert not client.received
        assert way.held_bytes == 0

    @pytest.mark.parametrize(
        ("client", "error"),
        [
            (Client(error=BodyTooLargeError("x")), BodyTooLargeError),
            (Client(b"no image"), UnsupportedFormatError),
        ],
    )
    async def test_a_refused_upload_frees_its_memory(self, way, client, error):
        with pytest.raises(error):
            await way.ingest.take(client)
        assert way.held_bytes == 0
        assert way.faults.appended == []

    async def test_an_image_that_cannot_be_developed_frees_its_memory(self, way):
        way.pool.error = InvalidImageError("broken")
        with pytest.raises(InvalidImageError):
            await way.ingest.take(Client())
        assert way.held_bytes == 0


class TestAClientThatLeaves:
    async def test_while_it_sends_nothing_is_stored(self, way):
        client = Client()
        client.may.clear()
        taking = asyncio.create_task(way.ingest.take(client))
        await until(lambda: client.received)
        await cancel(taking)
        assert way.held_bytes == 0
        assert way.faults.appended == []

    async def test_while_its_image_is_developed_nothing_is_stored(self, way):
        way.pool.may.clear()
        taking = asyncio.create_task(way.ingest.take(Client()))
        await until(lambda: way.held_bytes == COPIES * len(PNG))
        await cancel(taking)
        assert way.held_bytes == 0
        assert way.faults.appended == []

    async def test_while_its_image_is_published_it_is_stored_and_only_then_memory_is_free(
        self, way
    ):
        way.faults.may.clear()
        taking = asyncio.create_task(way.ingest.take(Client()))
        await until(lambda: way.faults.appended)
        await cancel(taking)
        assert way.held_bytes == COPIES * len(PNG)
        draining = asyncio.create_task(way.ingest.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        way.faults.may.set()
        await draining
        assert way.held_bytes == 0
        assert len(await way.listed()) == 1

    async def test_before_a_failure_leaves_no_complaint_behind(self, way, recwarn):
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        way.faults.errors[IMAGES] = [NotWrittenError("The broker is away.")]
        way.faults.may.clear()
        taking = asyncio.create_task(way.ingest.take(Client()))
        await until(lambda: way.faults.appended)
        await cancel(taking)
        way.faults.may.set()
        await way.ingest.drain()
        assert way.held_bytes == 0
        assert complaints == []

    async def test_draining_gives_up_on_a_log_that_never_answers(self, way, monkeypatch):
        monkeypatch.setattr(ingest_module, "_DRAIN_SECONDS", 0.01)
        way.faults.may.clear()
        taking = asyncio.create_task(way.ingest.take(Client()))
        await until(lambda: way.faults.appended)
        await asyncio.wait_for(way.ingest.drain(), 5)
        assert not taking.done()
        way.faults.may.set()
        await taking


async def cancel(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TestAnswers:
    """The same through the front door: what a client is told."""

    async def test_a_log_that_fails_is_never_a_500(self, client, monkeypatch):
        faults = Faults(client.gateway.log, monkeypatch)
        away, lost = NotWrittenError("The broker is away."), OutcomeUnknownError("No answer.")
        cases = itertools.product((IMAGES, EVENTS), (away, lost))
        for topic, error in cases:
            faults.errors[topic] = [error]
            response = await client.post("/images", content=images.jpeg())
            if error is away:
                body = problem(response, 503, "not-written")
                assert int(response.headers["retry-after"]) > 0
                assert "outcome" not in body
            else:
                body = problem(response, 504, "outcome-unknown")
                assert body["outcome"] == "unknown"
                assert "retry-after" not in response.headers
            assert body["retryable"] is True
            assert "location" not in response.headers
        assert (await client.get("/images")).json()["images"] == []
        stored = await client.post("/images", content=images.jpeg())
        assert stored.status_code == 201

        url = path_of(stored.json()["id"])
        faults.errors[EVENTS] = [away, lost]
        problem(await client.delete(url), 503, "not-written")
        assert problem(await client.delete(url), 504, "outcome-unknown")["outcome"] == "unknown"
        assert (await client.get(url)).status_code == 200

        async def unavailable(*_):
            raise LogUnavailableError("The broker is away.")

        client.gateway.delivery._cache._records.clear()
        with monkeypatch.context() as patched:
            patched.setattr(client.gateway.log, "read", unavailable)
            response = await client.get(url)
            problem(response, 503, "log-unavailable")
            assert int(response.headers["retry-after"]) > 0
        assert (await client.get(url)).status_code == 200

    async def test_an_upload_is_answered_before_the_catalog_knows_it(self, client, monkeypatch):
        monkeypatch.setattr(ingest_module, "_LISTING_SECONDS", 0.01)
        apply, may = client.gateway.catalog.apply, asyncio.Event()

        async def lag(*arguments):
            await may.wait()
            await apply(*arguments)

        monkeypatch.setattr(client.gateway.catalog, "apply", lag)
        response = await client.post("/images", content=images.jpeg())
        assert response.status_code == 201
        early = response.json()
        assert (early["sequence"], early["created_at"]) == (None, None)
        assert (await client.get(early["url"])).status_code == 200
        caught_up, asked = client.gateway.feed.caught_up, asyncio.Event()

        async def ask():
            asked.set()
            await caught_up()

        monkeypatch.setattr(client.gateway.feed, "caught_up", ask)
        describing = asyncio.create_task(client.get(f"{early['url']}/metadata"))
        await asyncio.wait_for(asked.wait(), 10)
        may.set()
        later = (await describing).json()
        assert later == early | {name: later[name] for name in ("sequence", "created_at")}
        assert later["sequence"] == 0
