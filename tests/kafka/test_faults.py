"""A broker that hangs, dies, loses its topics or is replaced: never a 500 or a wrong image."""

import asyncio
import time

import pytest

from tests.support import plain
from tests.support.checker import CHUNKED, SMALL, expect_honest
from tests.support.gateway_process import APPEND_SECONDS, BOUNDED, GatewayProcess, on_kafka

pytestmark = pytest.mark.apache_kafka

# Three appends in a row (chunks, head, event) may each take the deadline; then a busy machine.
ANSWER_SECONDS = 3 * APPEND_SECONDS + 3
HEAL_SECONDS = 30


class Uploads:
    """Clients that upload without a pause; their answers, and how late the slowest came."""

    def __init__(self, client):
        self.client = client
        self.stored = {}
        self.refused = []
        self.slowest = 0.0
        self.tasks = [asyncio.create_task(self._upload(number)) for number in range(6)]

    async def more(self, count):
        """Wait until so many more are stored."""
        wanted = len(self.stored) + count
        async with asyncio.timeout(HEAL_SECONDS):
            while len(self.stored) < wanted:
                await self._check()

    async def more_refused(self, count):
        wanted = len(self.refused) + count
        async with asyncio.timeout(HEAL_SECONDS):
            while len(self.refused) < wanted:
                await self._check()

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _check(self):
        for task in self.tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.02)

    async def _upload(self, number):
        data = CHUNKED if number == 0 else SMALL[number % len(SMALL)]
        while True:
            started = time.monotonic()
            response = await self.client.post("/images", content=data)
            self.slowest = max(self.slowest, time.monotonic() - started)
            if response.status_code == 201:
                self.stored[response.json()["url"]] = response.headers["repr-digest"]
            else:
                self.refused.append(response)
                # A shorter wait than Retry-After requests.
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("fault", ["paused", "killed"])
async def test_uploads_through_a_fault_have_honest_outcomes_and_the_gateway_heals(
    new_gateway, new_broker, fault
):
    broker = new_broker()
    gateway = new_gateway(**on_kafka(broker), **BOUNDED)
    async with gateway.async_client() as client:
        uploads = Uploads(client)
        await uploads.more(20)
        await asyncio.to_thread(broker.pause if fault == "paused" else broker.kill)
        await uploads.more_refused(8)
        assert (await client.get("/health/live")).status_code == 200
        async with asyncio.timeout(HEAL_SECONDS):
            while (await client.get("/health/ready")).status_code != 503:
                await asyncio.sleep(0.1)
        await asyncio.to_thread(broker.resume if fault == "paused" else broker.start)
        await uploads.more(20)
        await uploads.end()

        for response in uploads.refused:
            expect_honest(response)
        assert any(response.status_code == 504 for response in uploads.refused)
        assert uploads.slowest < ANSWER_SECONDS

        # It healed by itself, and everything that it acknowledged is there.
        await asyncio.to_thread(gateway.await_ready, HEAL_SECONDS)
        listed = await everything(client)
        assert uploads.stored.keys() <= listed.keys()
        for url, digest in listed.items():
            served = await client.get(url)
            assert served.status_code == 200
            assert served.headers["etag"] == f'"{digest}"'
        for url, digest in uploads.stored.items():
            assert (await client.head(url)).headers["repr-digest"] == digest
    assert gateway.mistakes() == []
    assert gateway.terminate() == 0
    broker.kill()


async def everything(client):
    found, url = {}, "/images?limit=1000"
    while url:
        response = await client.get(url)
        for image in response.json()["images"]:
            found[image["url"]] = image["digest"].removeprefix("sha256:")
        url = response.links.get("next", {}).get("url")
    return found


def test_a_broker_that_hangs_at_start_and_at_the_end_is_bounded(new_broker, new_gateway, tmp_path):
    broker = new_broker()
    settings = on_kafka(broker) | BOUNDED
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        assert client.post("/images", content=SMALL[0]).status_code == 201
    broker.pause()
    started = time.monotonic()
    assert gateway.terminate(seconds=30) == 0
    assert time.monotonic() - started < 15

    settings["IMAGEGATE_KAFKA__CONNECT_TIMEOUT_SECONDS"] = 2
    started = time.monotonic()
    with GatewayProcess(tmp_path / "other", **settings) as other:
        status, output = other.refuses("--port", "0")
    assert status == 2, output
    assert broker.bootstrap_servers in output
    assert "Traceback" not in output
    assert time.monotonic() - started < 15
    broker.kill()


def upload(client, count):
    responses = [client.post("/images", content=data) for data in SMALL[:count]]
    assert [response.status_code for response in responses] == [201] * count
    return [response.json() for response in responses]


def listing(client):
    return client.get("/images?limit=1000").json()["images"]


async def test_after_the_events_are_recreated_the_catalog_is_rebuilt(
    new_gateway, topics, prefix, kafka
):
    gateway = new_gateway(**topics)
    with gateway.client() as client:
        old = upload(client, 3)
        client.delete(old[0]["url"])
    assert gateway.terminate() == 0
    await plain.delete(kafka, f"{prefix}image-events")
    gateway.start()
    with gateway.client() as client:
        assert listing(client) == []
        # More events than before: other ones have their offsets now.
        new = upload(client, 4) + upload(client, 2)
        assert listing(client) == new[::-1]
        for image in old:
            response = client.get(image["url"])
            # The pictures were not lost: an id leads to its own picture, or to none.
            assert response.status_code in {200, 404, 410}
            if response.status_code == 200:
                assert response.headers["etag"] == f'"{image["digest"].removeprefix("sha256:")}"'
        await plain.delete(kafka, f"{prefix}image-events")


async def test_after_all_topics_are_recreated_an_old_id_is_no_other_image(
    new_gateway, topics, prefix, kafka
):
    topics["IMAGEGATE_KAFKA__PARTITIONS"] = 1
    gateway = new_gateway(**topics)
    with gateway.client() as client:
        old = upload(client, 3)
    assert gateway.terminate() == 0
    await plain.delete(kafka, f"{prefix}images", f"{prefix}image-events")
    gateway.start()
    with gateway.client() as client:
        assert listing(client) == []
        expect_gone(client, old)
        new = upload(client, 3)
        # Twelve characters of the id are the address, without the cookie: they are equal.
        assert [image["id"][:12] for image in new] == [image["id"][:12] for image in old]
        expect_gone(client, old)
        assert listing(client) == new[::-1]


def test_another_cluster_behind_the_address_is_noticed(new_gateway, new_broker):
    first = new_broker()
    settings = on_kafka(first) | {"IMAGEGATE_KAFKA__PARTITIONS": 1}
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        old = upload(client, 3)
    assert gateway.terminate() == 0
    first.kill()
    second = new_broker(port=first.port)
    assert second.bootstrap_servers == first.bootstrap_servers
    gateway.start()
    with gateway.client() as client:
        assert listing(client) == []
        expect_gone(client, old)
        new = upload(client, 3)
        expect_gone(client, old)
        assert listing(client) == new[::-1]
    second.kill()


def expect_gone(client, old):
    for image in old:
        assert client.get(image["url"]).status_code in {404, 410}
