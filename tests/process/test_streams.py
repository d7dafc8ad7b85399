"""Server-sent events from a real server: in order, exactly once, from anywhere."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest

from app import settings
from app.errors import ConfigurationError
from tests.support import images
from tests.support.gateway_process import GatewayProcess

JPEG = images.jpeg(images.photo((64, 48)))
SECONDS = 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams") / "data"
    with GatewayProcess(folder, IMAGEGATE_IMAGING__WORKERS=2) as process:
        yield process.start()
        assert process.terminate() == 0
        assert process.mistakes() == []


@pytest.fixture
async def client(gateway):
    limits = httpx.Limits(max_connections=None)
    async with gateway.async_client(limits=limits) as client:
        yield client


class Stream:
    """The events of a response; `comments` are kept apart."""

    def __init__(self, lines):
        self._lines = lines
        self.comments = []

    async def take(self, count):
        async with asyncio.timeout(SECONDS):
            return [await self._next() for _ in range(count)]

    async def take_comments(self, count):
        async with asyncio.timeout(SECONDS):
            while len(self.comments) < count:
                line = await anext(self._lines)
                if line.startswith(":"):
                    self.comments.append(line)

    async def end(self):
        """Return what came before the end."""
        rest = []
        async with asyncio.timeout(SECONDS):
            try:
                while True:
                    rest.append(await self._next())
            except (StopAsyncIteration, httpx.RemoteProtocolError):
                return rest

    async def _next(self):
        event = {}
        while True:
            line = await anext(self._lines)
            if line.startswith(":"):
                self.comments.append(line)
            elif line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif "id" in event:
                data = json.loads(event["data"])
                return int(event["id"]), event["event"], data
            else:
                event = {}


@asynccontextmanager
async def follow(client, after=None):
    headers = {} if after is None else {"last-event-id": str(after)}
    async with client.stream("GET", "/streams/images", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        async with aclosing(response.aiter_lines()) as lines:
            yield Stream(lines)


async def upload(client, count=1):
    responses = [await client.post("/images", content=JPEG) for _ in range(count)]
    assert [response.status_code for response in responses] == [201] * count
    return [response.json() for response in responses]


class TestLive:
    async def test_an_event_carries_the_json_of_the_upload(self, client):
        async with follow(client) as stream:
            [image] = await upload(client)
            [(sequence, kind, data)] = await stream.take(1)
        assert (sequence, kind, data) == (image["sequence"], "image.stored", image)

    async def test_only_what_happens_from_now_on_comes_without_a_last_event_id(self, client):
        await upload(client, 2)
        async with follow(client) as stream:
            [image] = await upload(client)
            [(_, _, data)] = await stream.take(1)
        assert data["id"] == image["id"]

    async def test_a_deletion_is_an_event_with_the_id_alone(self, client):
        async with follow(client) as stream:
            [image] = await upload(client)
            assert (await client.delete(image["url"])).status_code == 204
            (stored, _, _), (deleted, kind, data) = await stream.take(2)
        assert (kind, data) == ("image.deleted", {"id": image["id"]})
        assert deleted > stored

    async def test_deleting_twice_is_one_event(self, client):
        [image] = await upload(client)
        async with follow(client) as stream:
            for _ in range(2):
                assert (await client.delete(image["url"])).status_code == 204
            [other] = await upload(client)
            events = await stream.take(2)
        assert [data["id"] for _, _, data in events] == [image["id"], other["id"]]

    async def test_fifty_streams_see_every_event_once_and_in_the_same_order(self, client):
        async def watch(ready):
            async with follow(client) as stream:
                ready.release()
                return await stream.take(20)

        ready = asyncio.Semaphore(0)
        watching = [asyncio.create_task(watch(ready)) for _ in range(50)]
        async with asyncio.timeout(SECONDS):
            for _ in watching:
                await ready.acquire()
        uploaded = await asyncio.gather(*(upload(client, 4) for _ in range(5)))
        seen = await asyncio.gather(*watching)
        sequences = [[sequence for sequence, _, _ in events] for events in seen]
        assert sequences[0] == sorted(set(sequences[0]))
        assert sequences == [sequences[0]] * 50
        assert {data["id"] for _, _, data in seen[0]} == {
            image["id"] for each in uploaded for image in each
        }


class TestReplay:
    async def test_it_begins_after_the_last_event_id(self, client):
        uploaded = await upload(client, 3)
        async with follow(client, uploaded[0]["sequence"]) as stream:
            [live] = await upload(client)
            events = await stream.take(3)
        assert [data["id"] for _, _, data in events] == [
            *(image["id"] for image in uploaded[1:]),
            live["id"],
        ]

    async def test_minus_one_begins_with_the_first_event(self, client):
        [last] = await upload(client)
        async with follow(client, -1) as stream:
            [(first, _, _)] = await stream.take(1)
            assert first == 0
            events = [(first, None, None)]
            while events[-1][0] < last["sequence"]:
                events += await stream.take(1)
        sequences = [sequence for sequence, _, _ in events]
        assert sequences == list(range(last["sequence"] + 1))

    async def test_what_was_deleted_since_is_replayed_without_its_data(self, client):
        before, image = await upload(client, 2)
        await client.delete(image["url"])
        async with follow(client, before["sequence"]) as stream:
            events = await stream.take(2)
        assert [(kind, data) for _, kind, data in events] == [
            ("image.stored", {"id": image["id"]}),
            ("image.deleted", {"id": image["id"]}),
        ]

    async def test_it_joins_what_is_live_without_a_gap_or_a_repetition(self, client):
        [before] = await upload(client)
        uploading = asyncio.gather(*(upload(client, 10) for _ in range(3)))
        seen = []
        # Again and again a client comes back in the middle of it.
        while len(seen) < 30:
            async with follow(client, seen[-1][0] if seen else before["sequence"]) as stream:
                seen += await stream.take(min(3, 30 - len(seen)))
        uploaded = {image["id"] for each in await uploading for image in each}
        sequences = [sequence for sequence, _, _ in seen]
        assert sequences == sorted(set(sequences))
        assert {data["id"] for _, _, data in seen} == uploaded

    @pytest.mark.parametrize("last_event_id", ["x", "-2", "1.5", "99999999"])
    async def test_an_id_that_never_was_is_a_problem(self, client, last_event_id):
        headers = {"last-event-id": last_event_id}
        response = await client.get("/streams/images", headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "invalid-parameter")


async def test_a_comment_comes_while_nothing_happens(new_gateway):
    # Longer than the second after which the log says that it is alive: that is no event.
    gateway = new_gateway(IMAGEGATE_HTTP__PING_SECONDS=1.5)
    async with gateway.async_client() as client, follow(client) as stream:
        await stream.take_comments(3)
        [image] = await upload(client)
        assert (await stream.take(1))[0][2] == image
    assert gateway.terminate() == 0


async def test_the_interval_between_comments_is_below_what_proxies_wait():
    assert settings.load().http.ping_seconds == 15
    with pytest.raises(ConfigurationError):
        settings.load(http={"ping_seconds": 16})


async def test_a_client_that_reconnects_after_a_crash_misses_nothing(new_gateway, log_settings):
    gateway = new_gateway(**log_settings)
    async with gateway.async_client() as client, follow(client) as stream:
        before = await upload(client, 3)
        seen = await stream.take(2)
        gateway.kill()
        seen += await stream.end()
    gateway.start()
    async with gateway.async_client() as client:
        meanwhile = await upload(client, 2)
        async with follow(client, seen[-1][0]) as stream:
            live = await upload(client, 1)
            expected = [image["id"] for image in before + meanwhile + live]
            seen += await stream.take(len(expected) - len(seen))
    assert [data["id"] for _, _, data in seen] == expected
    assert gateway.terminate() == 0
    assert gateway.mistakes() == []


async def test_clients_that_leave_end_their_streams(new_gateway):
    gateway = new_gateway(IMAGEGATE_HTTP__PING_SECONDS=0.1)
    async with gateway.async_client() as client:
        for _ in range(5):
            async with follow(client) as stream:
                await upload(client)
                await stream.take(1)
    ended = lambda: sum("/streams/images" in line for line in gateway.output) == 5  # noqa: E731
    async with asyncio.timeout(SECONDS):
        while not ended():
            await asyncio.sleep(0.02)
    assert gateway.terminate() == 0
    assert gateway.mistakes() == []
