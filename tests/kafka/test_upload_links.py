"""Upload links on any number of gateways: the log decides whose use of one counts."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.events.event import ImageStored, decode
from app.log import EVENTS, Position
from tests.support import images
from tests.support.in_process import in_process, problem
from tests.support.links import changed, make

pytestmark = pytest.mark.kafka

SMALL = [images.jpeg(images.photo((80, 60), seed=seed)) for seed in range(4)]


@pytest.fixture
async def start(kafka, prefix, tmp_path):
    """Start gateways on the test's topics, each with a folder of its own and the same link keys."""
    keys = tmp_path / "link-keys"
    keys.write_text("k1:bGlua2tleS1saW5ra2V5LWxpbmtrZXktbGlua2tleS0=\n")
    log = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": prefix,
        "partitions": 3,
    }
    async with AsyncExitStack() as stack:

        async def one(name, **options):
            return await stack.enter_async_context(
                in_process(tmp_path / name, access={"link_keys_file": keys}, kafka=log | options)
            )

        yield one


async def listed(client):
    await client.gateway.feed.caught_up()
    return [each["id"] for each in (await client.get("/images")).json()["images"]]


async def stored_events(client):
    log = client.gateway.log
    end = (await log.bounds(EVENTS, 0)).end
    found = [decode((await log.read(EVENTS, Position(0, each))).record) for each in range(end)]
    return [each for each in found if isinstance(each, ImageStored)]


async def test_two_uploads_at_once_by_a_link_for_one_are_decided_alike_everywhere(
    start, monkeypatch
):
    one, two = await start("one"), await start("two")
    for each in (one, two):
        # As if each had begun before it knew of the other: the race is always there.
        monkeypatch.setattr(each.gateway.ingest._claims, "require_left", known)
    won = []
    for data in SMALL:
        url = (await make(one, kind="upload"))["url"]
        answers = await asyncio.gather(*(each.post(url, content=data) for each in (one, two)))
        assert sorted(each.status_code for each in answers) == [201, 409]
        won += [each.json()["id"] for each in answers if each.status_code == 201]
        problem(next(each for each in answers if each.status_code == 409), 409, "link-used")
    three = await start("three")
    lost = {each.image_id for each in await stored_events(three)} - set(won)
    assert len(lost) == len(SMALL)
    for each in (one, two, three):
        assert await listed(each) == won[::-1]
        for image_id in lost:
            problem(await each.get(f"/images/{image_id}"), 404, "image-not-found")
            problem(await each.get(f"/images/{image_id}/metadata"), 404, "image-not-found")
            problem(await each.delete(f"/images/{image_id}"), 404, "image-not-found")
        for image_id in won:
            assert (await each.get(f"/images/{image_id}")).status_code == 200


async def known(_claim):
    """As `Claims.require_left` where the link has uses left."""


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
async def test_every_gateway_counts_the_uses_of_all(start, signed):
    keys = {"signing_keys": "k1:c2lnbmluZ2tleS1zaWduaW5na2V5LXNpZ25pbmdrZXk="} if signed else {}
    one, two = await start("one", **keys), await start("two", **keys)
    url = (await make(two, kind="upload", uses=3))["url"]
    answers = await asyncio.gather(
        *(each.post(url, content=data) for data in SMALL for each in (one, two))
    )
    statuses = [each.status_code for each in answers]
    assert statuses.count(201) == 3
    assert statuses.count(409) == len(statuses) - 3
    won = {each.json()["id"] for each in answers if each.status_code == 201}
    assert set(await listed(one)) == set(await listed(two)) == won
    for each in (one, two):
        # Known before the body, and before anything is written.
        before = len(await stored_events(each))
        problem(await each.post(url, content=SMALL[0]), 409, "link-used")
        assert len(await stored_events(each)) == before
    problem(await one.post(changed(url, uses="4"), content=SMALL[0]), 403, "invalid-link")


async def test_a_failed_upload_leaves_the_use_to_another_gateway(start):
    one, two = await start("one"), await start("two")
    url = (await make(one, kind="upload"))["url"]
    problem(await one.post(url, content=SMALL[0][:300]), 422, "invalid-image")
    image = await two.post(url, content=SMALL[0])
    assert image.status_code == 201
    # The moment it is acknowledged, on the other one.
    assert (await one.get(image.json()["url"])).status_code == 200
    problem(await one.post(url, content=SMALL[1]), 409, "link-used")
