"""One idempotency key on any number of gateways: the log decides which upload under it counts."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from app.changes.sweep import Sweeper
from app.events.event import ImageDeleted, ImageStored, decode
from app.log import EVENTS, Position
from app.records.signature import NO_SIGNATURES
from dev.kafka.ports import free_port
from tests.support import images
from tests.support.gateway_process import until
from tests.support.in_process import in_process, problem
from tests.support.once import PHOTO, expect_one_image, listed, new_key, upload
from tests.support.past import program_of

pytestmark = pytest.mark.kafka

# The last commit whose readers know no tokens.
BEFORE = "6257246b4ecf3acc1603a69cd84efebfed7e55b3"
ROUNDS = 2


async def test_fifty_at_once_over_two_gateways_one_of_them_killed_in_between(
    new_gateway, topics, tmp_path
):
    port = str(free_port())
    gateways = [
        new_gateway("--port", port, data_dir=tmp_path / "first", **topics),
        new_gateway(data_dir=tmp_path / "second", **topics),
    ]
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(each.async_client()) for each in gateways]
        for _ in range(ROUNDS):
            await expect_one_image(clients, new_key())

        async def kill():
            first = gateways[0]
            await asyncio.to_thread(first.kill)
            await asyncio.to_thread(first.start, "--port", port)

        await expect_one_image(clients, new_key(), kill)


@pytest.fixture
async def three(kafka, prefix, tmp_path):
    """Start gateways on the test's topics, each with a folder of its own."""
    log = {"bootstrap_servers": kafka.bootstrap_servers, "topic_prefix": prefix, "partitions": 3}
    async with AsyncExitStack() as stack:

        async def one(name):
            return await stack.enter_async_context(in_process(tmp_path / name, kafka=log))

        yield one


async def events(client, kind):
    log = client.gateway.log
    end = (await log.bounds(EVENTS, 0)).end
    found = [decode((await log.read(EVENTS, Position(0, each))).record) for each in range(end)]
    return [each.image_id for each in found if isinstance(each, kind)]


async def test_two_that_know_nothing_of_each_other_answer_with_one_image_and_delete_the_other(
    three, monkeypatch
):
    one, two = await three("one"), await three("two")
    won = []
    for seed in range(3):
        data, key = images.jpeg(images.photo((80, 60), seed=seed)), new_key()
        with monkeypatch.context() as patch:
            for each in (one, two):
                # As if each had begun before it knew of the other: the race is always there.
                patch.setattr(each.gateway.ingest._once, "holder", unknown)
            answers = await asyncio.gather(*(upload(each, key, data) for each in (one, two)))
        assert [each.status_code for each in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert sum("idempotency-replayed" in each.headers for each in answers) == 1
        won.insert(0, answers[0].json()["id"])
    lost = set(await events(one, ImageStored)) - set(won)
    assert len(lost) == 3
    late = await three("late")
    for each in (one, two, late):
        await each.gateway.feed.caught_up()
        assert await listed(each) == won
        for image_id in lost:
            problem(await each.get(f"/images/{image_id}"), 410, "image-gone")
    assert await sweep(late) == 3
    assert set(await events(one, ImageDeleted)) == lost
    for each in (one, two):
        await each.gateway.feed.caught_up()
        assert await sweep(each) == 0
        facts = await each.gateway.catalog.facts(-1, 100)
        assert [fact.image_id for fact in facts] == won[::-1]


async def sweep(client):
    gateway = client.gateway
    return await Sweeper(gateway.log, gateway.catalog, gateway.feed, NO_SIGNATURES).sweep()


async def unknown(_token):
    """As `Once.holder` where the key is new."""


def test_an_image_with_a_token_stops_the_older_one_which_goes_on_with_what_it_knew(
    new_gateway, topics, tmp_path
):
    program = program_of(BEFORE, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **topics)
    new = new_gateway(data_dir=tmp_path / "new", **topics)
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:
        # It ignores the key, and its event is of an earlier version.
        headers = {"Idempotency-Key": new_key()}
        before = then.post("/images", content=PHOTO, headers=headers).json()
        once = today.post("/images", content=PHOTO, headers=headers)
        assert once.status_code == 201
        assert "idempotency-replayed" not in once.headers
        until(lambda: then.get("/health/ready").status_code == 503)
        for path in (f"{once.json()['url']}/metadata", "/images", "/streams/images"):
            answer = then.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready"), path
        for client in (then, today):
            assert client.get(before["url"]).status_code == 200
        assert then.post("/images", content=PHOTO).status_code == 503
