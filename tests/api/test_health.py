"""`/health`: alive whatever happens; ready only when an answer can be trusted."""

import pytest
import pytest_asyncio

from app.access.principal import ANYONE
from app.errors import LogUnavailableError
from app.events.event import ImageStored, encode
from app.feed.dead_letters import DeadLetters
from app.log import EVENTS, IMAGES
from app.records.address import Address
from app.records.image import head_record
from tests.support.facts import NEWER, until
from tests.support.in_process import in_process, problem
from tests.support.pictures import store

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def not_ready(client):
    """Return the trouble that readiness reports."""
    response = await client.get("/health/ready")
    body = problem(response, 503, "not-ready")
    assert response.headers["retry-after"] == "1"
    assert body["detail"][0].isupper()
    assert body["detail"].endswith(".")
    assert ".." not in body["detail"]
    assert (await client.get("/health/live")).status_code == 200
    return body["detail"]


async def test_a_gateway_that_has_caught_up_is_ready(shared_client):
    for path in ("/health/live", "/health/ready"):
        response = await shared_client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_liveness_never_touches_the_log(shared_client, monkeypatch):
    async def away(*_):
        raise LogUnavailableError("The broker is away.")

    for name in ("read", "bounds", "append"):
        monkeypatch.setattr(shared_client.gateway.log, name, away)
    assert (await shared_client.get("/health/live")).status_code == 200


async def test_a_gateway_that_stops_is_alive_but_not_ready(shared_client):
    shared_client.gateway.drain()
    assert "stopping" in await not_ready(shared_client)


async def test_every_trouble_is_named(shared_client, monkeypatch):
    shared_client.gateway.drain()
    monkeypatch.setattr(type(shared_client.gateway.log), "trouble", "the broker on Host1 is away")
    monkeypatch.setattr(type(shared_client.gateway.feed), "trouble", "the events cannot be read")
    detail = await not_ready(shared_client)
    assert detail == (
        "The gateway is stopping; the events cannot be read; the broker on Host1 is away."
    )


async def test_a_feed_that_stands_still_is_not_ready(shared_client):
    shared_client.gateway.feed._moved_at -= 3600
    response = await shared_client.get("/health/ready")
    assert "seconds" in problem(response, 503, "not-ready")["detail"]


class TestNewerEvent:
    """An event that may mean anything, such as the deletion of an image."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def stopped(self, tmp_path):
        """A client of a gateway that stands at such an event, and the images that it knows."""
        async with in_process(tmp_path) as client:
            known = [await store(client, seed=seed) for seed in (1, 2)]
            assert (await client.delete(known[1].url)).status_code == 204
            later = await behind(client, known[0])
            await client.gateway.log.append(EVENTS, [NEWER, encode(later)])
            await until(lambda: client.gateway.feed.is_stopped)
            yield client, *known, later.image_id

    async def test_it_is_named_and_what_needs_the_newest_facts_is_refused(self, stopped):
        client, picture, _, later = stopped
        assert "newer version at offset 3" in await not_ready(client)
        for method, path in (
            ("DELETE", picture.url),
            ("GET", f"/images/{later}"),
            ("HEAD", f"/images/{later}"),
            ("GET", f"/images/{later}/metadata"),
            ("DELETE", f"/images/{later}"),
            ("GET", "/images"),
            ("GET", "/streams/images"),
            ("GET", "/streams/images.mjpeg"),
            ("POST", "/images"),
        ):
            response = await client.request(method, path)
            assert response.status_code == 503, (method, path)
            assert int(response.headers["retry-after"]) > 0
            if method != "HEAD":
                detail = problem(response, 503, "not-ready")["detail"]
                assert detail.startswith("The gateway is behind: ")
                assert "upgrade imagegate" in detail
        assert (await client.gateway.log.bounds(EVENTS, 0)).end == 5

    async def test_images_that_were_known_before_it_are_served(self, stopped):
        client, picture, gone, _ = stopped
        assert (await client.get(picture.url)).content == picture.content
        assert (await client.head(picture.url)).status_code == 200
        assert (await client.get(f"{picture.url}/metadata")).json() == picture.json
        problem(await client.get(gone.url), 410, "image-gone")
        problem(await client.get(f"/images/{'a' * 31}"), 404, "image-not-found")

    async def test_after_it_is_skipped_everything_is_served_again(self, stopped):
        client, picture, _, later = stopped
        await DeadLetters(client.gateway.log).skip(3)
        await until(lambda: client.gateway.feed.trouble is None)
        for path in ("/images", picture.url, f"/images/{later}", "/health/ready"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.delete(picture.url)).status_code == 204


async def behind(shared_client, picture):
    """Append the records of another image, and return the event that would announce it."""
    cookie, data = bytes(12), memoryview(picture.content)
    image = await shared_client.gateway.finder.find(picture.id, ANYONE)
    head = head_record(cookie, data, image.info, len(data), ())
    [position] = await shared_client.gateway.log.append(IMAGES, [head])
    return ImageStored(str(Address(position, cookie)), image.info)
