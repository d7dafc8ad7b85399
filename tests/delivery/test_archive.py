"""The profile `archive`: packed in the log, and served bit for bit as it came."""

import asyncio
import hashlib

import pytest
import pytest_asyncio

from app.access.principal import ANYONE
from app.budget import ByteBudget
from app.client import NOBODY
from app.codec.pool import CodecPool
from app.delivery.cache import RecordCache
from app.delivery.chunks import PIECE_BYTES, Chunks
from app.delivery.unpack import Unpacker
from app.errors import (
    DecoderCrashedError,
    ImageGoneError,
    RecordGoneError,
    ShareExceededError,
    UnpackError,
)
from app.imaging.codecs import lepton
from app.log import IMAGES
from app.records import chunk_list, views
from app.records import image as records
from app.records.address import parse
from tests.support import images
from tests.support.facts import until
from tests.support.in_process import in_process, problem

SIZE = (640, 480)


@pytest.fixture(scope="module")
def photo():
    return images.jpeg(images.photo(SIZE, noise=8))


async def archived(client, data, metadata="strip"):
    answer = await client.post(f"/images?profile=archive&metadata={metadata}", content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def head_of(client, image):
    position = parse(image["id"]).position
    return (await client.gateway.log.read(IMAGES, position)).record


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
async def test_a_jpeg_comes_back_bit_for_bit_and_takes_less_in_the_log(client, mode, progressive):
    data = images.jpeg(images.photo(SIZE, mode, noise=8), progressive=progressive)
    image = await archived(client, data, "keep")
    assert (await client.get(image["url"])).content == data
    receipt = image["receipt"]
    assert (image["profile"], receipt["codec"], receipt["kept"]) == ("archive", "lepton", True)
    assert receipt["stored_bytes"] < 0.9 * len(data)
    assert len((await head_of(client, image)).value) == receipt["stored_bytes"]
    assert receipt["received_digest"] == image["digest"]


async def test_without_its_metadata_it_is_the_file_less_its_metadata(client, photo):
    image = await archived(client, photo)
    original = (await client.post("/images?profile=original", content=photo)).json()
    assert image["digest"] == original["digest"]
    served = (await client.get(image["url"])).content
    assert not any(secret in served for secret in images.SECRETS)
    assert hashlib.sha256(served).hexdigest() == image["digest"].removeprefix("sha256:")


async def test_the_record_says_what_is_served_and_how_it_is_packed(client, photo):
    image = await archived(client, photo)
    record = await head_of(client, image)
    assert record.header("content-type") == b"image/jpeg"
    assert int(record.header("content-length")) == image["content_length"]
    assert record.header("content-encoding") == b"lepton"
    assert int(record.header("imagegate-stored-length")) == image["receipt"]["stored_bytes"]
    digest = image["digest"].removeprefix("sha256:")
    assert record.header("content-digest") == views.digest_field(digest).encode()
    served = (await client.get(image["url"])).content
    assert lepton.unpack(record.value, len(served), digest) == served


async def test_what_is_not_packed_has_neither_header(client, photo):
    image = (await client.post("/images", content=photo)).json()
    names = {name for name, _ in (await head_of(client, image)).headers}
    assert not names & {"content-encoding", "imagegate-stored-length"}


@pytest.mark.parametrize(
    "make",
    [images.png, images.webp, images.heic, lambda: images.jpeg(images.photo(SIZE, "CMYK"))],
    ids=["PNG", "WebP", "HEIC", "CMYK"],
)
async def test_what_lepton_cannot_pack_is_kept_as_the_original(client, make):
    data = make()
    image = await archived(client, data, "keep")
    assert (await client.get(image["url"])).content == data
    assert (image["profile"], image["receipt"]["codec"]) == ("archive", "original")


async def test_it_is_served_like_any_other(client, photo, monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 5_000)
    monkeypatch.setattr(chunk_list, "MIN_CHUNK_BYTES", 5_000)
    image = await archived(client, photo, "keep")
    for first, last in [(0, 0), (1, 70_000), (len(photo) - 10, len(photo) - 1)]:
        part = await client.get(image["url"], headers={"range": f"bytes={first}-{last}"})
        assert part.status_code == 206
        assert part.content == photo[first : last + 1]
    head = await client.head(image["url"])
    assert int(head.headers["content-length"]) == len(photo)
    again = await client.get(image["url"], headers={"if-none-match": head.headers["etag"]})
    assert again.status_code == 304
    assert (await client.get(f"{image['url']}/metadata")).json() == image


async def test_it_is_shown_live(client, photo):
    await archived(client, photo, "keep")
    frames = client.gateway.pictures.watch()
    assert (await anext(frames)).picture.jpeg == photo
    await frames.aclose()


class InProcess:
    """A pool without workers."""

    async def run(self, task, data, client):
        return lepton.unpack(data, task.content_length, task.digest)


class Counting(InProcess):
    """A pool that counts, and works when it may; the first clients can be refused."""

    def __init__(self, *refused):
        self.clients = []
        self.may = asyncio.Event()
        self.refused = list(refused)
        self.cancelled = 0

    async def run(self, task, data, client):
        self.clients.append(client)
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if client in self.refused:
            raise ShareExceededError("Too much.")
        return await super().run(task, data, client)


class TestRanges:
    @pytest_asyncio.fixture
    async def reading(self, client):
        """Return a function that gives an unpacker, and one that reads a byte of an image."""

        def make(pool, unpack_bytes=10_000_000):
            budget = ByteBudget(unpack_bytes, patience_seconds=0)
            chunks = Chunks(RecordCache(client.gateway.log, IMAGES, 0))
            unpacker = Unpacker(chunks, pool, budget)

            async def read(image, at, by=NOBODY):
                stored = await client.gateway.finder.find(image["id"], ANYONE)
                pieces = await unpacker.open(stored, at, at + 1, by)
                return b"".join([piece async for piece in pieces])

            return unpacker, read

        return make

    async def test_those_who_ask_at_once_and_afterwards_cost_one_unpacking(
        self, client, photo, reading
    ):
        image, pool = await archived(client, photo, "keep"), Counting()
        _, read = reading(pool)
        readers = [asyncio.create_task(read(image, at, f"client {at}")) for at in range(5)]
        await until(lambda: pool.clients)
        pool.may.set()
        assert b"".join(await asyncio.gather(*readers)) == photo[:5]
        assert await read(image, 5) == photo[5:6]
        assert len(pool.clients) == 1

    async def test_only_so_many_are_kept_and_only_while_there_is_memory(
        self, client, photo, reading
    ):
        pool = Counting()
        pool.may.set()
        stored = [
            await archived(client, images.jpeg(images.photo((64, 48), seed=seed)))
            for seed in range(10)
        ]
        unpacker, read = reading(pool)
        for image in stored:
            await read(image, 0)
        assert list(unpacker._images) == [image["id"] for image in stored[-8:]]
        # Half of the memory has room for the last one.
        most = max(image["content_length"] for image in stored)
        unpacker, read = reading(pool, 3 * most)
        for image in stored:
            await read(image, 0)
        assert list(unpacker._images) == [stored[-1]["id"]]

    async def test_the_share_of_the_first_does_not_count_for_the_others(
        self, client, photo, reading
    ):
        image, pool = await archived(client, photo, "keep"), Counting("greedy")
        unpacker, read = reading(pool)
        greedy = asyncio.create_task(read(image, 0, "greedy"))
        await until(lambda: pool.clients)
        others = [asyncio.create_task(read(image, at, "modest")) for at in range(3)]
        await until(lambda: next(iter(unpacker._images.values())).readers == 4)
        pool.may.set()
        with pytest.raises(ShareExceededError):
            await greedy
        assert b"".join(await asyncio.gather(*others)) == photo[:3]
        assert pool.clients == ["greedy", "modest"]

    async def test_work_ends_with_the_last_who_asked(self, client, photo, reading):
        image, pool = await archived(client, photo, "keep"), Counting()
        unpacker, read = reading(pool)
        readers = [asyncio.create_task(read(image, at)) for at in range(2)]
        await until(lambda: pool.clients)
        readers[0].cancel()
        await asyncio.gather(readers[0], return_exceptions=True)
        assert not pool.cancelled
        readers[1].cancel()
        await until(lambda: pool.cancelled)
        assert not unpacker._images
        assert unpacker._budget.free_bytes == unpacker._budget.total_bytes


class TestFaults:
    async def test_without_the_extra_it_is_refused_and_the_extra_is_named(
        self, tmp_path, photo, monkeypatch
    ):
        monkeypatch.setattr("app.imaging.extras.is_installed", lambda extra: extra != "archive")
        async with in_process(tmp_path) as client:
            answer = await client.post("/images?profile=archive", content=photo)
            assert (
                "the extra archive is not installed"
                in problem(answer, 422, "invalid-parameter")["detail"]
            )

    async def test_an_image_that_cannot_be_unpacked_now_is_a_503(self, client, photo, monkeypatch):
        image = await archived(client, photo)

        async def crash(*_):
            raise DecoderCrashedError("The decoder crashed on this image.")

        monkeypatch.setattr(CodecPool, "run", crash)
        problem(await client.get(image["url"]), 503, "not-unpacked")

    async def test_damage_is_a_503_and_not_another_picture(self, client, photo, monkeypatch):
        image = await archived(client, photo)
        run = CodecPool.run

        def with_packed(change):
            async def changed(pool, task, data, client):
                return await run(pool, task, change(data), client)

            monkeypatch.setattr(CodecPool, "run", changed)

        for change in (lambda data: data[:-9], lambda data: data[:300] + b"\0" + data[301:]):
            with_packed(change)
            problem(await client.get(image["url"]), 503, "not-unpacked")
        other = lepton.pack(images.jpeg(images.photo(SIZE, seed=2)))
        with_packed(lambda _: other)
        detail = problem(await client.get(image["url"]), 503, "not-unpacked")["detail"]
        assert "not the one that was packed" in detail

    async def test_a_part_that_leaves_the_log_meanwhile_is_a_410(self, client, photo, monkeypatch):
        monkeypatch.setattr(records, "CHUNK_BYTES", 5_000)
        monkeypatch.setattr(chunk_list, "MIN_CHUNK_BYTES", 5_000)
        image = await archived(client, photo)

        async def gone(*_):
            raise RecordGoneError("It is gone.")

        stored = await client.gateway.finder.find(image["id"], ANYONE)
        monkeypatch.setattr(RecordCache, "read", gone)
        with pytest.raises(ImageGoneError):
            await client.gateway.delivery.open(stored, 0, 10)

    async def test_memory_for_unpacking_is_bounded_and_given_back(self, gateways, photo):
        sections = {"delivery": {"unpack_bytes": 1_000_000}, "upload": {"patience_seconds": 0}}
        client = await gateways(**sections)
        image = await archived(client, photo)
        budget = client.gateway.delivery._unpacker._budget
        held = await budget.reserve(NOBODY, 1_000_000)
        problem(await client.get(image["url"]), 503, "overloaded")
        held.release()
        for _ in range(5):
            assert (await client.get(image["url"])).status_code == 200
        stored = await client.gateway.finder.find(image["id"], ANYONE)
        pieces = await client.gateway.delivery.open(stored, 0, 10)
        del pieces  # a client that left before the first byte
        # It is kept for the next, until another needs its memory.
        await until(lambda: budget.free_bytes == 1_000_000 - image["content_length"])
        other = await archived(client, images.jpeg(images.photo(SIZE, seed=3)))
        assert (await client.get(other["url"])).status_code == 200
        client.gateway.delivery._unpacker._make_room(1_000_000)
        assert budget.free_bytes == 1_000_000

    async def test_a_client_that_stalls_holds_its_memory_for_a_while_only(self, client):
        image = await archived(client, images.jpeg(images.photo((1600, 1200), noise=8)))
        assert image["content_length"] > PIECE_BYTES
        stored = await client.gateway.finder.find(image["id"], ANYONE)
        budget = ByteBudget(10_000_000, patience_seconds=0)
        chunks = Chunks(RecordCache(client.gateway.log, IMAGES, 0))
        unpacker = Unpacker(chunks, InProcess(), budget, lease_seconds=0.01, min_rate=10**9)
        pieces = await unpacker.open(stored, 0, image["content_length"], NOBODY)
        await anext(pieces)
        await until(lambda: not any(each.readers for each in unpacker._images.values()))
        with pytest.raises(UnpackError, match="took too long"):
            await anext(pieces)
