"""A gateway with keys, and a forger who can write to every topic."""

import json
from contextlib import aclosing

import pytest
from structlog.testing import capture_logs

from app.changes.sign_from import begin_signing
from app.events.event import ImageDeleted, ImageStored, SigningBegan, encode
from app.feed.dead_letters import DeadLetters
from app.log import EVENTS, IMAGES, REJECTS, Position, Record
from app.records import image as records
from app.records.address import Address, parse
from app.records.signature import NO_SIGNATURES
from tests.support import images
from tests.support.facts import NEWER, info, until
from tests.support.in_process import in_process, problem
from tests.support.signing import K1, K2, OURS, THEIRS, keys

JPEG = images.jpeg(images.photo((40, 30)))
COOKIE = bytes(range(12))


def on_disk(folder, **named):
    """A gateway with these keys, to be started again on its folder."""
    return in_process(folder, kafka={"signing_keys": keys(**named)})


@pytest.fixture
async def start(gateways):
    """Start a gateway with the key `k1`."""

    async def start():
        return await gateways(kafka={"signing_keys": keys(k1=K1)})

    return start


async def upload(client):
    response = await client.post("/images", content=JPEG)
    assert response.status_code == 201, response.text
    return response.json()


async def caught_up(client):
    await client.gateway.feed.caught_up()
    return client


async def shown(client):
    """The ids in the list, and those of the facts in the stream that have an image."""
    await caught_up(client)
    listed = [each["id"] for each in (await client.get("/images")).json()["images"]]
    facts = await client.gateway.catalog.facts(-1, 100)
    return listed, [fact.image_id for fact in facts if fact.image]


def head(cookie=COOKIE, chunks=()):
    length = 7 if not chunks else 16_384 * (len(chunks) + 1)
    described = info(content_length=length)
    return records.head_record(cookie, memoryview(bytes(length)), described, 16_384, chunks)


async def append(client, topic, record):
    [position] = await client.gateway.log.append(topic, [record])
    return position


async def forge(client, signatures=None):
    """Append an image with its event, signed or not; return its id."""
    made = signatures.sign(IMAGES, head()) if signatures else head()
    image_id = str(Address(await append(client, IMAGES, made), COOKIE))
    event = encode(ImageStored(image_id, info(content_length=7)))
    await append(client, EVENTS, signatures.sign(EVENTS, event) if signatures else event)
    return image_id


async def copied(client, topic, position):
    """Append the same record again; return its new position."""
    record = (await client.gateway.log.read(topic, position)).record
    return await append(client, topic, Record(record.key, record.value, record.headers))


async def rejects(client):
    """The reasons of the dead letters."""
    log = client.gateway.log
    if (await log.bounds(REJECTS, 0)).end == 0:
        return []
    async with aclosing(log.tail(REJECTS, 0, 0)) as tail:
        return [json.loads(each.value)["reason"] for each in (await anext(tail)).records]


async def refuses(client, image_id, reason):
    """Check that a forged image is nowhere, and that its event was rejected for this reason."""
    assert await shown(client) == ([], [])
    assert reason in (await rejects(client))[0]
    with capture_logs() as logs:
        for _ in range(2):
            problem(await client.get(f"/images/{image_id}"), 404, "image-not-found")
            problem(await client.get(f"/images/{image_id}/metadata"), 404, "image-not-found")
    assert [line["event"] for line in logs].count("image_unfit") == 1


class TestOwnImages:
    async def test_are_listed_served_and_deleted_as_without_keys(self, start):
        client = await start()
        image = await upload(client)
        await begin_signing(client.gateway.log, OURS)
        other = await upload(client)
        for each in (image, other):
            assert (await client.get(each["url"])).status_code == 200
            assert (await client.get(each["url"] + "/metadata")).status_code == 200
        assert (await client.delete(image["url"])).status_code == 204
        problem(await client.get(image["url"]), 410, "image-gone")
        assert await shown(client) == ([other["id"]], [other["id"]])
        assert await rejects(client) == []

    async def test_are_served_under_the_next_key_too(self, tmp_path):
        async with on_disk(tmp_path, k1=K1) as client:
            image = await upload(client)
            await begin_signing(client.gateway.log, OURS)
        async with on_disk(tmp_path, k2=K2, k1=K1) as client:
            newer = await upload(client)
            assert (await shown(client))[0] == [newer["id"], image["id"]]
            assert (await client.get(image["url"])).status_code == 200

    async def test_from_before_signing_began_are_served_after_it(self, tmp_path):
        async with in_process(tmp_path) as client:
            image = await upload(client)
        async with on_disk(tmp_path, k1=K1) as client:
            assert (await shown(client))[0] == [image["id"]]
            await begin_signing(client.gateway.log, OURS)
            assert (await client.get(image["url"])).status_code == 200
            assert (await client.delete(image["url"])).status_code == 204
        async with on_disk(tmp_path, k1=K1) as client:
            problem(await client.get(image["url"]), 410, "image-gone")

    async def test_that_another_replica_announced_just_now_are_waited_for(self, start):
        client = await start()
        made = OURS.sign(IMAGES, head())
        image_id = str(Address(await append(client, IMAGES, made), COOKIE))
        event = OURS.sign(EVENTS, encode(ImageStored(image_id, info(content_length=7))))
        await append(client, EVENTS, event)
        assert (await client.get(f"/images/{image_id}")).content == bytes(7)


class TestForgeries:
    async def test_without_keys_a_forged_image_is_shown(self, client):
        image_id = await forge(client)
        assert await shown(client) == ([image_id], [image_id])
        assert (await client.get(f"/images/{image_id}")).status_code == 200

    async def test_before_signing_began_an_unsigned_image_is_shown(self, start):
        client = await start()
        image_id = await forge(client)
        assert await shown(client) == ([image_id], [image_id])
        await begin_signing(client.gateway.log, OURS)
        assert (await client.get(f"/images/{image_id}")).status_code == 200

    async def test_an_unsigned_image_is_not(self, start):
        client = await start()
        await begin_signing(client.gateway.log, OURS)
        await refuses(client, await forge(client), "no signature")

    async def test_one_that_another_key_signed_is_not_even_before_signing_began(self, start):
        client = await start()
        await refuses(client, await forge(client, THEIRS), "none of our keys")

    @pytest.mark.parametrize("header", ["content-type", "content-digest", "imagegate-meta"])
    async def test_a_head_with_a_header_of_another_is_not(self, start, header):
        client = await start()
        image = await upload(client)
        where = parse(image["id"])
        record = (await client.gateway.log.read(IMAGES, where.position)).record
        other = dict(head().headers)[header]
        swapped = tuple((name, other if name == header else v) for name, v in record.headers)
        value = record.value
        position = await append(client, IMAGES, Record(record.key, value, swapped))
        forged = str(Address(position, where.cookie))
        # Even if a key of ours had announced it.
        event = encode(ImageStored(forged, info(content_length=len(value))))
        await append(client, EVENTS, OURS.sign(EVENTS, event))
        await caught_up(client)
        problem(await client.get(f"/images/{forged}"), 404, "image-not-found")

    async def test_a_copy_of_a_deleted_image_and_its_event_stays_deleted(self, start):
        client = await start()
        await begin_signing(client.gateway.log, OURS)
        image = await upload(client)
        where = parse(image["id"])
        kept = (await client.gateway.log.read(IMAGES, where.position)).record
        event = (await client.gateway.log.read(EVENTS, Position(0, image["sequence"]))).record
        assert (await client.delete(image["url"])).status_code == 204
        again = await append(client, IMAGES, Record(kept.key, kept.value, kept.headers))
        await append(client, EVENTS, Record(event.key, event.value, event.headers))
        copy = f"/images/{Address(again, where.cookie)}"
        for _ in range(2):
            problem(await client.get(copy), 404, "image-not-found")
            problem(await client.get(image["url"]), 410, "image-gone")
        assert await shown(client) == ([], [])

    async def test_a_copy_of_a_head_is_not_found_and_reported_once(self, start):
        client = await start()
        where = parse((await upload(client))["id"])
        copy = f"/images/{Address(await copied(client, IMAGES, where.position), where.cookie)}"
        with capture_logs() as logs:
            for _ in range(3):
                problem(await client.get(copy), 404, "image-not-found")
        [line] = [line for line in logs if line["event"] == "image_unfit"]
        assert "no event" in line["reason"]

    async def test_an_unsigned_event_from_before_opens_no_place_behind_the_beginning(self, start):
        client = await start()
        image = await upload(client)
        where = parse(image["id"])
        # The place of the next record of each partition, announced before signing begins.
        log, early = client.gateway.log, []
        for partition in range(log.partitions(IMAGES)):
            end = (await log.bounds(IMAGES, partition)).end
            early.append(str(Address(Position(partition, end), where.cookie)))
            event = encode(ImageStored(early[-1], info(content_length=7)))
            await append(client, EVENTS, event)
        await begin_signing(log, OURS)
        copy = str(Address(await copied(client, IMAGES, where.position), where.cookie))
        assert copy in early
        problem(await client.get(f"/images/{copy}"), 404, "image-not-found")
        assert await shown(client) == ([image["id"]], [image["id"]])

    async def test_an_old_unsigned_head_names_no_chunk_that_came_later(self, start):
        client = await start()
        log = client.gateway.log
        ahead = Position(0, (await log.bounds(IMAGES, 0)).end + 5)
        position = await append(client, IMAGES, head(chunks=(ahead,)))
        await begin_signing(log, OURS)
        forged = str(Address(position, COOKIE))
        event = encode(ImageStored(forged, info(content_length=32_768)))
        await append(client, EVENTS, OURS.sign(EVENTS, event))
        await caught_up(client)
        problem(await client.get(f"/images/{forged}"), 404, "image-not-found")

    @pytest.mark.parametrize("signatures", [None, THEIRS])
    async def test_a_forged_deletion_deletes_nothing(self, start, signatures):
        client = await start()
        await begin_signing(client.gateway.log, OURS)
        image = await upload(client)
        event = encode(ImageDeleted(image["id"]))
        await append(client, EVENTS, signatures.sign(EVENTS, event) if signatures else event)
        await caught_up(client)
        assert (await client.get(image["url"])).status_code == 200
        assert len(await rejects(client)) == 1

    async def test_a_forged_event_of_a_newer_version_stops_nothing(self, start):
        client = await start()
        await begin_signing(client.gateway.log, OURS)
        await append(client, EVENTS, NEWER)
        assert (await shown(client))[0] == []
        assert len(await rejects(client)) == 1


class TestBeginning:
    @pytest.mark.parametrize("signatures", [None, THEIRS])
    async def test_nobody_without_a_key_begins_it(self, start, signatures):
        client = await start()
        event = encode(SigningBegan((0,)))
        await append(client, EVENTS, signatures.sign(EVENTS, event) if signatures else event)
        image_id = await forge(client)
        assert (await shown(client))[0] == [image_id]
        assert len(await rejects(client)) == 1

    async def test_the_first_counts_and_a_later_one_lets_nothing_in(self, start):
        client = await start()
        await begin_signing(client.gateway.log, OURS)
        image_id = await forge(client)
        await begin_signing(client.gateway.log, OURS)
        await refuses(client, image_id, "no signature")

    async def test_it_is_known_after_a_restart_and_after_a_rebuild(self, tmp_path):
        async with on_disk(tmp_path, k1=K1) as client:
            await begin_signing(client.gateway.log, OURS)
        for _ in range(2):
            async with on_disk(tmp_path, k1=K1) as client:
                await refuses(client, await forge(client), "no signature")
            (tmp_path / "catalog.db").unlink()

    async def test_a_gateway_without_keys_ignores_it(self, client):
        await begin_signing(client.gateway.log, OURS)
        image = await upload(client)
        assert (await shown(client))[0] == [image["id"]]
        assert await rejects(client) == []

    async def test_what_a_gateway_without_keys_believed_is_judged_again(self, tmp_path):
        async with in_process(tmp_path) as client:
            await begin_signing(client.gateway.log, OURS)
            image_id = await forge(client)
            assert (await shown(client))[0] == [image_id]
        async with on_disk(tmp_path, k1=K1) as client:
            await refuses(client, image_id, "no signature")


class TestLetters:
    @pytest.mark.parametrize(("signatures", "is_skipped"), [(None, False), (OURS, True)])
    async def test_only_a_signed_one_skips_a_record(self, start, signatures, is_skipped):
        client = await start()
        letters = DeadLetters(client.gateway.log, signatures or NO_SIGNATURES)
        event = OURS.sign(EVENTS, NEWER)
        stopped_at = (await append(client, EVENTS, event)).offset
        await until(lambda: client.gateway.feed.is_stopped)
        await letters.skip(stopped_at)
        ours = DeadLetters(client.gateway.log, OURS)
        assert (await ours.skipped(stopped_at) is not None) == is_skipped

    async def test_a_forged_one_hides_no_forgery(self, start):
        client = await start()
        await begin_signing(client.gateway.log, OURS)
        for offset in range(10):
            await append(client, REJECTS, Record(b"image-events:0:%d" % offset, b"{}"))
        with capture_logs() as logs:
            await forge(client)
            await caught_up(client)
        assert [line["event"] for line in logs].count("event_rejected") == 1
