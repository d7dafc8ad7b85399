"""Limits of clients, through the API: refused before the body, said in headers, off by default."""

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from app.api.headers import EXPOSE_HEADERS
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process, problem

PNG = images.png(images.photo((16, 12)))
ONE = {"window_seconds": 1}


@pytest.fixture
def key(tmp_path):
    """The headers of a principal that may do everything."""
    (tmp_path / "data").mkdir()
    return bearer(make_key(tmp_path / "data", "admin"))


def refused(response, limit):
    body = problem(response, 429, "rate-limited")
    assert body["retryable"]
    assert int(response.headers["retry-after"]) >= 1
    return body["detail"], limit


async def test_without_a_key_on_loopback_there_are_none(client):
    response = await client.get("/images")
    assert response.status_code == 200
    assert "ratelimit" not in response.headers
    assert "ratelimit-policy" not in response.headers


async def test_with_keys_every_answer_says_them_generously(gateways, key):
    client = await gateways()
    response = await client.get("/images", headers=key)
    policies = response.headers["ratelimit-policy"].split(", ")
    assert policies == [
        '"address-requests";q=10000;w=10',
        '"address-bytes";q=1000000000;qu="content-bytes";w=10',
        '"principal-requests";q=10000;w=10',
        '"principal-bytes";q=1000000000;qu="content-bytes";w=10',
    ]
    names = [each.partition(";")[0] for each in policies]
    assert [each.partition(";")[0] for each in response.headers["ratelimit"].split(", ")] == names
    denied = await client.get("/images")
    assert (denied.status_code, denied.headers["ratelimit-policy"].count(";w=")) == (401, 2)


async def test_a_limit_that_is_set_holds_without_keys_too(gateways):
    client = await gateways(limits=ONE | {"address_requests": 2})
    for left in (1, 0):
        response = await client.get("/images")
        assert response.status_code == 200
        assert response.headers["ratelimit"] == f'"address-requests";r={left};t=1'
    with capture_logs() as logged:
        refused(await client.get("/images"), "address-requests")
        refused(await client.get("/nothing"), "address-requests")
        # Probes alone are answered at any rate, not whatever else is below their path.
        refused(await client.get("/health/nothing"), "address-requests")
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
    lines = [line for line in logged if line["event"] == "request_limited"]
    assert [line["limit"] for line in lines] in ([], ["address-requests"])
    metrics = await other(client).get("/metrics")
    assert 'imagegate_requests_limited_total{limit="address-requests"}' in metrics.text


def other(client, address="192.0.2.7"):
    """A client of the same gateway at another address."""
    app = client._transport.app
    transport = httpx.ASGITransport(app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_each_address_has_its_own_and_a_network_of_ipv6_is_one(gateways):
    client = await gateways(limits=ONE | {"address_requests": 1})
    one, same, next_door = (
        other(client, f"2001:db8:0:{each}") for each in ("1::1", "1::2", "2::1")
    )
    assert (await one.get("/images")).status_code == 200
    assert (await same.get("/images")).status_code == 429
    assert (await next_door.get("/images")).status_code == 200


async def test_a_principal_has_one_limit_at_every_address(gateways, key, tmp_path):
    second = bearer(make_key(tmp_path / "data", "admin"))
    client = await gateways(limits=ONE | {"principal_requests": 1, "address_requests": 0})
    assert (await client.get("/images", headers=key)).status_code == 200
    refused(await other(client).get("/images", headers=key), "principal-requests")
    assert (await client.get("/images", headers=second)).status_code == 200


async def test_an_upload_is_refused_before_its_body_is_asked_for(gateways):
    client = await gateways(limits=ONE | {"address_requests": 1})
    assert (await client.get("/images")).status_code == 200
    events = []

    async def receive():
        events.append("receive")
        return {"type": "http.disconnect"}

    async def send(message):
        events.append(message.get("status", message["type"]))

    headers = [(b"host", b"localhost"), (b"content-length", b"9"), (b"expect", b"100-continue")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/images",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "scheme": "http",
    }
    await client._transport.app(scope, receive, send)
    # What comes after the answer is read only so that the client sees it.
    assert events[:2] == [429, "http.response.body"]


async def test_uploads_at_once_are_limited_and_reads_go_on(gateways):
    client = await gateways(limits={"address_uploads": 1})
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def body():
        yield PNG[:10]
        begun.set()
        await go_on.wait()
        yield PNG[10:]

    first = asyncio.create_task(client.post("/images", content=body()))
    await begun.wait()
    refused(await client.post("/images", content=PNG), "address-uploads")
    assert (await client.get("/images")).status_code == 200
    go_on.set()
    assert (await first).status_code == 201
    assert (await client.post("/images", content=PNG)).status_code == 201


@pytest.mark.parametrize("limit", ["address_uploads", "address_bytes_in_flight"])
async def test_refused_uploads_whose_rest_is_read_keep_no_others_from_beginning(
    gateways, key, limit
):
    client = await gateways(limits={limit: 1}, http={"linger_seconds": 10})
    is_read = asyncio.Event()

    async def endless():
        yield PNG
        is_read.set()
        await asyncio.Event().wait()
        yield PNG

    refused_one = asyncio.create_task(client.post("/images", content=endless()))
    await is_read.wait()
    assert (await client.post("/images", content=PNG, headers=key)).status_code == 201
    refused_one.cancel()
    await asyncio.gather(refused_one, return_exceptions=True)


async def test_the_time_of_workers_is_limited_for_uploads(gateways):
    # What is left of the window after one image is a debt for hours.
    client = await gateways(limits=ONE | {"address_worker_seconds": 0.000001})
    client.gateway.ingest._development._pool._shares._clock = Clock()
    assert (await client.post("/images", content=PNG)).status_code == 201
    refused(await client.post("/images", content=PNG), "address-worker-seconds")
    assert (await client.get("/images")).status_code == 200


async def test_the_time_of_workers_is_limited_for_images_to_unpack(gateways):
    client = await gateways(limits=ONE | {"address_worker_seconds": 0.000001})
    client.gateway.ingest._development._pool._shares._clock = Clock()
    data = images.jpeg(images.photo((320, 240), noise=20))
    stored = (await client.post("/images", content=data, params={"profile": "archive"})).json()
    assert stored["receipt"]["codec"] == "lepton"  # part of an upload that was let in
    refused(await client.get(stored["url"]), "address-worker-seconds")
    assert (await other(client).get(stored["url"])).status_code == 200


class Clock:
    """Each look at it is ten seconds later."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 10
        return self.now


async def test_bytes_slow_the_request_and_refuse_the_next(gateways, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr("app.limits.meters.asyncio.sleep", sleep)
    client = await gateways(limits=ONE | {"address_bytes": 100})
    response = await client.post("/images", content=PNG)
    assert response.status_code == 201
    assert max(slept) > len(PNG) / 100 - 1
    slept.clear()
    refused(await client.get("/images"), "address-bytes")
    # The refusal itself is not slowed down.
    assert slept == []


async def test_browsers_of_other_origins_may_read_the_headers():
    assert "RateLimit, RateLimit-Policy" in EXPOSE_HEADERS.value


async def test_beyond_loopback_they_are_on_though_insecure(tmp_path):
    async with in_process(tmp_path / "d", insecure=True, http={"host": "0.0.0.0"}) as client:  # noqa: S104
        assert "ratelimit" in (await client.get("/images")).headers


class TestQuota:
    async def test_so_many_images_of_a_principal_and_a_deletion_makes_room(
        self, gateways, key, tmp_path
    ):
        second = bearer(make_key(tmp_path / "data", "admin"))
        client = await gateways(limits={"principal_images": 1})
        image = (await client.post("/images", content=PNG, headers=key)).json()
        detail = problem(
            await client.post("/images", content=PNG, headers=key), 403, "quota-exceeded"
        )["detail"]
        assert "may have 1 images stored, and have 1" in detail
        assert (await client.post("/images", content=PNG, headers=second)).status_code == 201
        await client.delete(image["url"], headers=key)
        assert (await client.post("/images", content=PNG, headers=key)).status_code == 201

    async def test_so_many_bytes_of_a_principal(self, gateways, key):
        client = await gateways(limits={"principal_bytes_stored": 2 * len(PNG) - 1})
        assert (await client.post("/images", content=PNG, headers=key)).status_code == 201
        usage = await client.gateway.catalog.usage(
            (await client.get("/images", headers=key)).json()["images"][0]["owner"]
        )
        assert usage.images == 1
        left = 2 * len(PNG) - 1 - usage.stored_bytes
        larger = await client.post("/images", content=PNG + bytes(left), headers=key)
        problem(larger, 403, "quota-exceeded")

    async def test_uploads_at_once_do_not_pass_it_together(self, gateways, key):
        client = await gateways(limits={"principal_images": 2})
        uploads = [client.post("/images", content=PNG, headers=key) for _ in range(6)]
        statuses = [response.status_code for response in await asyncio.gather(*uploads)]
        assert statuses.count(201) <= 2
        listed = (await client.get("/images", headers=key)).json()["images"]
        assert len(listed) == statuses.count(201)
        assert set(statuses) <= {201, 403}
