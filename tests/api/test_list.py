"""`GET /images`: newest first, page by page."""

import base64

import httpx
import pytest
import pytest_asyncio

from app.events.event import encode
from app.log import EVENTS
from tests.support import images
from tests.support.facts import deleted, image_id, stored
from tests.support.in_process import in_process, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory):
    """A gateway that knows sixty images, and two that were deleted among them."""
    async with in_process(tmp_path_factory.mktemp("gateway")) as client:
        events = [stored(number) for number in range(COUNT)]
        events[20:20] = [stored(100), deleted(100)]
        events[41:41] = [deleted(101)]
        await client.gateway.log.append(EVENTS, [encode(event) for event in events])
        await client.gateway.feed.caught_up()
        yield client


def ids(response):
    assert response.status_code == 200, response.text
    return [image["id"] for image in response.json()["images"]]


EXPECTED = [image_id(number) for number in reversed(range(COUNT))]


async def test_the_newest_come_first_and_deleted_images_never(client):
    response = await client.get("/images?limit=1000")
    assert ids(response) == EXPECTED
    sequences = [image["sequence"] for image in response.json()["images"]]
    assert sequences == sorted(sequences, reverse=True)
    assert response.json()["next_cursor"] is None
    assert "link" not in response.headers


async def test_a_page_has_fifty_images_unless_asked_otherwise(client):
    assert ids(await client.get("/images")) == EXPECTED[:50]
    assert ids(await client.get("/images?limit=1")) == EXPECTED[:1]


@pytest.mark.parametrize("limit", [1, 7, 20, 59, 60, 61])
async def test_cursors_and_links_lead_through_every_image_once(client, limit):
    by_cursor, by_link = [], []
    response = await client.get("/images", params={"limit": limit})
    while True:
        by_cursor += ids(response)
        cursor = response.json()["next_cursor"]
        if cursor is None:
            break
        assert len(response.json()["images"]) == limit
        response = await client.get("/images", params={"limit": limit, "cursor": cursor})
    response = await client.get("/images", params={"limit": limit})
    by_link += ids(response)
    while "next" in response.links:
        url = response.links["next"]["url"]
        assert url.startswith("/images?")
        assert httpx.URL(url).params["limit"] == str(limit)
        response = await client.get(url)
        by_link += ids(response)
    assert by_cursor == by_link == EXPECTED


async def test_a_cursor_survives_what_is_stored_and_deleted_meanwhile(tmp_path):
    async with in_process(tmp_path) as client:

        async def happen(*events):
            await client.gateway.log.append(EVENTS, [encode(event) for event in events])
            await client.gateway.feed.caught_up()

        empty = await client.get("/images")
        assert empty.json() == {"images": [], "next_cursor": None}
        await happen(*(stored(number) for number in range(6)))
        page = await client.get("/images?limit=2")
        assert ids(page) == [image_id(5), image_id(4)]
        await happen(stored(6), deleted(4), deleted(3))
        page = await client.get(f"/images?limit=2&cursor={page.json()['next_cursor']}")
        assert ids(page) == [image_id(2), image_id(1)]


async def test_the_image_that_was_just_stored_is_first(client):
    uploaded = await client.post("/images", content=images.jpeg())
    page = await client.get("/images?limit=1")
    assert page.json()["images"] == [uploaded.json()]
    await client.delete(uploaded.json()["url"])
    assert ids(await client.get("/images?limit=1")) == EXPECTED[:1]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many", "1.5", "9" * 5000])
async def test_a_limit_that_is_none_is_refused_by_name(client, limit):
    response = await client.get("/images", params={"limit": limit})
    assert "limit" in problem(response, 422, "invalid-parameter")["detail"]


def coded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "\u2600",
        "a" * 64,
        "a" * 65,
        coded(b"first"),
        coded(b"-1"),
        coded(b" 7 "),
        coded(b"1_0"),
        coded(b"007"),
        coded(b"%d" % 2**63),
        coded(b"9" * 40),
        coded(b"7") + "==",
        coded("\u0667".encode()),
    ],
)
async def test_a_cursor_that_no_page_returned_is_refused_by_name(client, cursor):
    response = await client.get("/images", params={"cursor": cursor})
    assert "cursor" in problem(response, 422, "invalid-parameter")["detail"]
