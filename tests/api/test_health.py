"""`/health`: alive whatever happens; ready only when an answer can be trusted."""

import pytest
import pytest_asyncio

from app.errors import LogUnavailableError
from app.events.event import encode
from app.log import EVENTS
from tests.support import images
from tests.support.facts import NEWER, stored, until
from tests.support.in_process import in_process, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory):
    async with in_process(tmp_path_factory.mktemp("gateway")) as client:
        yield client


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


async def test_a_gateway_that_has_caught_up_is_ready(client):
    for path in ("/health/live", "/health/ready"):
        response = await client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_liveness_never_touches_the_log(client, monkeypatch):
    async def away(*_):
        raise LogUnavailableError("The broker is away.")

    for name in ("read", "bounds", "append"):
        monkeypatch.setattr(client.gateway.log, name, away)
    assert (await client.get("/health/live")).status_code == 200


async def test_a_gateway_that_stops_is_alive_but_not_ready(client):
    client.gateway.drain()
    assert "stopping" in await not_ready(client)


async def test_every_trouble_is_named(client, monkeypatch):
    client.gateway.drain()
    monkeypatch.setattr(type(client.gateway.log), "trouble", "the broker on Host1 is away")
    monkeypatch.setattr(type(client.gateway.feed), "trouble", "the events cannot be read")
    detail = await not_ready(client)
    assert detail == (
        "The gateway is stopping; the events cannot be read; the broker on Host1 is away."
    )


async def test_a_feed_that_stands_still_is_not_ready(client):
    client.gateway.feed._moved_at -= 3600
    response = await client.get("/health/ready")
    assert "seconds" in problem(response, 503, "not-ready")["detail"]


async def test_a_newer_event_takes_every_answer_back_and_says_why(tmp_path):
    async with in_process(tmp_path) as client:
        url = (await client.post("/images", content=images.jpeg())).json()["url"]
        await client.gateway.log.append(EVENTS, [NEWER, encode(stored(1))])
        await until(lambda: "newer version" in (client.gateway.feed.trouble or ""))
        assert "newer version at offset 1" in await not_ready(client)
        for method, path in (
            ("GET", url),
            ("HEAD", url),
            ("DELETE", url),
            ("GET", f"{url}/metadata"),
            ("GET", "/images"),
            ("GET", "/streams/images"),
            ("POST", "/images"),
        ):
            response = await client.request(method, path)
            assert response.status_code == 503, (method, path)
            assert int(response.headers["retry-after"]) > 0
            if method != "HEAD":
                assert "upgrade imagegate" in problem(response, 503, "not-ready")["detail"]
