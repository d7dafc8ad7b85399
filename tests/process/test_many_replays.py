"""Fifty clients that have every event sent again, and others who go on beside them."""

import asyncio
import json

import pytest

from tests.support import images
from tests.support.siege.given import fill_facts

FACTS = 600
CLIENTS = 50


class Replay:
    """The sequence number, type and data of each event that a client receives, from the first."""

    def __init__(self, number):
        self._source = f"127.0.0.{2 + number}"
        self.events = []

    async def until(self, gateway, last):
        """Read until the event with this number, or a later one, has come."""
        host, port = gateway.address
        reader, writer = await asyncio.open_connection(host, port, local_addr=(self._source, 0))
        try:
            writer.write(b"GET /streams/images HTTP/1.0\r\nHost: localhost\r\n")
            writer.write(b"Last-Event-ID: -1\r\n\r\n")
            assert b" 200 " in await reader.readline()
            while not self.events or self.events[-1][0] < last:
                self._take(await reader.readuntil(b"\n\n"))
        finally:
            writer.close()

    def _take(self, block):
        event = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line)
        if "id" in event:
            self.events.append((int(event["id"]), event["event"], json.loads(event["data"])))


@pytest.fixture
async def gateway(new_gateway, tmp_path):
    await fill_facts(tmp_path / "data", FACTS)
    return new_gateway()


async def test_each_gets_every_event_once_and_in_order_while_others_upload_and_delete(gateway):
    replays = [Replay(number) for number in range(CLIENTS)]
    async with gateway.async_client() as client:
        last = FACTS + 5
        reading = asyncio.gather(*(replay.until(gateway, last) for replay in replays))
        ids = []
        for seed in range(3):
            answer = await client.post("/images", content=images.jpeg(images.photo(seed=seed)))
            assert answer.status_code == 201
            ids.append(answer.json()["id"])
            assert (await client.delete(f"/images/{ids[-1]}")).status_code == 204
            assert (await client.get("/health/live")).status_code == 200
        await asyncio.wait_for(reading, 60)
    for replay in replays:
        assert [event[0] for event in replay.events] == list(range(FACTS + 6))
        kinds = [(kind, data["id"]) for _, kind, data in replay.events[FACTS:]]
        assert kinds == [
            (kind, image_id) for image_id in ids for kind in ("image.stored", "image.deleted")
        ]
    assert gateway.mistakes() == []


async def test_a_replay_never_shows_an_image_that_was_deleted_after_another_replay(gateway):
    async with gateway.async_client() as client:
        answer = await client.post("/images", content=images.jpeg())
        before = Replay(0)
        await before.until(gateway, FACTS)
        assert before.events[-1][2] == answer.json()
        assert (await client.delete(answer.json()["url"])).status_code == 204
        after = Replay(1)
        await after.until(gateway, FACTS + 1)
        assert after.events[FACTS][1:] == ("image.stored", {"id": answer.json()["id"]})
        listed = (await client.get("/images?limit=1000")).json()["images"]
        assert answer.json()["id"] not in {image["id"] for image in listed}
