"""The source of an image, a camera or a device: stored, shown, and filtered by."""

import asyncio
import json
from contextlib import aclosing

import pytest

from app.events.event import ImageDeleted, decode
from app.log import EVENTS, IMAGES, Position
from app.records import address
from app.records.image import parse_head
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import problem
from tests.support.links import make
from tests.support.streamed import beginning

shared = pytest.mark.asyncio(loop_scope="module")

JPEG = images.jpeg(images.photo((40, 30)))


async def upload(client, status=201, headers=None, url="/images", **fields):
    files = {"file": ("img.jpg", JPEG)}
    answer = await client.post(url, files=files, data=fields, headers=headers or {})
    assert answer.status_code == status, answer.text
    return answer.json()


async def listed(client, **parameters):
    answer = await client.get("/images", params=parameters)
    return [each["id"] for each in answer.json()["images"]]


async def streamed(client, query, count):
    """The types and ids of the first events of a stream from its beginning."""
    status, body = await beginning(
        client,
        f"/streams/images{query}",
        {"last-event-id": "-1"},
        lambda body: body.count(b"\nid: ") == count,
    )
    assert status == 200
    frames = [frame.split("\n") for frame in body.decode().split("\n\n")[1:-1]]
    return [(frame[0][7:], json.loads(frame[1][6:])["id"]) for frame in frames]


class TestStored:
    async def test_it_is_in_the_json_the_head_the_event_and_the_deletion(self, client):
        image, without = await upload(client, source="Tür 7"), await upload(client)
        assert image["source"] == "Tür 7"
        assert "source" not in without
        described = await client.get(f"{image['url']}/metadata")
        assert described.json() == image
        log, where = client.gateway.log, address.parse(image["id"])
        record = (await log.read(IMAGES, where.position)).record
        assert record.header("imagegate-source") == "Tür 7".encode()
        assert record.header("imagegate-version") == b"1"
        assert parse_head(record).info.source == "Tür 7"
        event = (await log.read(EVENTS, Position(0, image["sequence"]))).record
        assert decode(event).info.source == "Tür 7"
        assert json.loads(event.value)["imagegateversion"] == 1
        await client.delete(image["url"])
        end = (await log.bounds(EVENTS, 0)).end
        last = decode((await log.read(EVENTS, Position(0, end - 1))).record)
        assert last == ImageDeleted(image["id"], source="Tür 7")

    @shared
    @pytest.mark.parametrize(
        ("given", "stored"),
        [("a" * 64, "a" * 64), (" door ", "door"), ("Tu\u0308r", "Tür"), ("", None)],
    )
    async def test_two_spellings_of_one_name_are_the_same(self, shared_client, given, stored):
        assert (await upload(shared_client, source=given)).get("source") == stored

    @shared
    @pytest.mark.parametrize("given", ["a" * 65, "a\nb", "a\u202eb", "\x7f"])
    async def test_one_that_is_none_is_refused_and_nothing_is_stored(self, shared_client, given):
        before = await listed(shared_client)
        answer = await shared_client.post(
            "/images", params={"source": given}, files={"file": ("img.jpg", JPEG)}
        )
        assert "source: " in problem(answer, 422, "invalid-parameter")["detail"]
        assert await listed(shared_client) == before

    @shared
    async def test_a_form_field_wins_over_the_query(self, shared_client):
        image = await upload(shared_client, url="/images?source=query", source="form")
        assert image["source"] == "form"


class TestFiltered:
    async def test_a_list_and_its_pages_have_the_images_of_one_source(self, client):
        door = [(await upload(client, source="door"))["id"] for _ in range(2)]
        await upload(client, source="gate")
        await upload(client)
        assert await listed(client, source="door") == door[::-1]
        assert await listed(client, source=" door") == door[::-1]
        assert await listed(client, source="none") == []
        page = await client.get("/images", params={"source": "door", "limit": 1})
        following = page.headers["link"].partition(">")[0][1:]
        assert [each["id"] for each in (await client.get(following)).json()["images"]] == door[:1]
        assert len(await listed(client, source="")) == 4
        problem(await client.get("/images?source=a%0ab"), 422, "invalid-parameter")

    async def test_the_events_of_one_source_are_streamed_with_its_deletions(self, client):
        door, gate = await upload(client, source="door"), await upload(client, source="gate")
        for image in (gate, door):
            await client.delete(image["url"])
        await upload(client, source="gate")
        after = await upload(client, source="door")
        assert await streamed(client, "?source=door", 3) == [
            ("image.stored", door["id"]),
            ("image.deleted", door["id"]),
            ("image.stored", after["id"]),
        ]

    async def test_the_pictures_of_one_source_are_watched_and_others_wake_nobody(self, client):
        door = await upload(client, source="door")
        await upload(client, source="gate")
        asked, real = [], client.gateway.catalog.newest

        async def counting(*args, **options):
            asked.append(options.get("source"))
            return await real(*args, **options)

        client.gateway.catalog.newest = counting
        async with aclosing(client.gateway.pictures.watch(source="door")) as frames:
            assert (await anext(frames)).image_id == door["id"]
            # The same once more, for browsers: from then on nothing is due.
            assert (await anext(frames)).image_id == door["id"]
            waiting = asyncio.create_task(anext(frames))
            await asyncio.sleep(0)
            before = len(asked)
            for _ in range(3):
                await upload(client, source="gate")
            assert len(asked) == before
            assert not waiting.done()
            newer = await upload(client, source="door")
            assert (await asyncio.wait_for(waiting, 10)).image_id == newer["id"]

    async def test_the_stream_of_pictures_takes_the_parameter(self, client):
        door = await upload(client, source="door")
        await upload(client, source="gate")
        location = f"Content-Location: {door['url']}".encode()
        status, body = await beginning(
            client, "/streams/images.mjpeg?source=door", {}, lambda body: location in body
        )
        assert (status, body.count(b"Content-Location")) == (200, 1)


class TestLinks:
    async def test_an_upload_link_fixes_the_source(self, client):
        link = await make(client, kind="upload", uses=3, source="door")
        assert (await upload(client, url=link["url"]))["source"] == "door"
        assert (await upload(client, url=link["url"], source="door"))["source"] == "door"
        refused = await upload(client, 422, url=link["url"], source="gate")
        assert refused["detail"] == "source: the link is for another."
        without = await make(client, kind="upload")
        assert (await upload(client, 422, url=without["url"], source="gate"))["status"] == 422

    async def test_a_stream_link_shows_one_source(self, client):
        door = await upload(client, source="door")
        await upload(client, source="gate")
        link = await make(client, kind="stream", stream="images", source="door")
        query = link["url"].removeprefix("/streams/images")
        assert await streamed(client, query, 1) == [("image.stored", door["id"])]
        other = query.replace("source=door", "source=gate")
        status, _ = await beginning(client, f"/streams/images{other}", {}, bool)
        assert status == 403

    async def test_a_client_filters_its_own_images_alone(self, gateways, tmp_path):
        mine, theirs = (make_key(tmp_path / "data", "images:write", "images:list") for _ in "ab")
        client = await gateways()
        own = await upload(client, headers=bearer(mine), source="door")
        await upload(client, headers=bearer(theirs), source="door")
        answer = await client.get("/images?source=door", headers=bearer(mine))
        assert [each["id"] for each in answer.json()["images"]] == [own["id"]]
