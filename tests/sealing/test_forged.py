"""A forger who can write to every topic, and knows no key: no change of a record is served."""

import asyncio
import base64
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from app.catalog.sealed import CatalogSeal
from app.errors import RecordDamagedError
from app.events.event import decode, encode
from app.log import EVENTS, IMAGES, Position, Record
from app.records.address import Address, parse
from app.records.stated_key import WRAPPED_KEY
from tests.support.in_process import in_process, problem
from tests.support.sealing import (
    K1,
    LARGE,
    NAME,
    SMALL,
    all_records,
    check_out,
    sealing,
    upload,
)

BOUND = [
    "content-type",
    "content-length",
    "content-digest",
    "imagegate-version",
    "imagegate-meta",
    "imagegate-encryption",
    "imagegate-wrapped-key",
    "imagegate-sealed",
]


@pytest.fixture
async def client(tmp_path):
    async with in_process(tmp_path, **sealing(k1=K1)) as client:
        yield client


async def stored_head(client, image):
    return (await client.gateway.log.read(IMAGES, parse(image["id"]).position)).record


async def overwritten(client, monkeypatch, changed):
    """Have the log return this record in the place of the one that is there."""
    log = client.gateway.log
    read = log.read

    async def tampered(topic, position):
        fetched = await read(topic, position)
        if (topic, position) == (IMAGES, changed.position):
            return replace(fetched, record=changed, neighbours=())
        return fetched

    monkeypatch.setattr(log, "read", tampered)
    client.gateway.finder._cache._cached.clear()


async def refused(client, image, **headers):
    """Check that nothing is served of an image; return the status of a download."""
    response = await client.get(image["url"], headers=headers)
    assert response.status_code in (404, 503), response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("name", BOUND)
async def test_no_bit_of_a_header_can_be_flipped(client, monkeypatch, name):
    image = await upload(client, SMALL)
    head = await stored_head(client, image)
    value = head.header(name)
    for at in {0, len(value) // 3, len(value) // 2, len(value) - 1}:
        headers = tuple((n, flipped(v, at) if n == name else v) for n, v in head.headers)
        with monkeypatch.context() as context:
            await overwritten(client, context, replace(head, headers=headers))
            await refused(client, image)
    client.gateway.finder._cache._cached.clear()
    assert (await client.get(image["url"])).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        ("imagegate-visibility", b"public"),
        ("imagegate-owner", b"key:somebody"),
        ("content-type", b"image/webp"),
        ("a-header", b"of another program"),
        ("content-encoding", b"lepton"),
    ],
)
async def test_no_header_can_be_added(client, monkeypatch, more):
    image = await upload(client, SMALL)
    head = await stored_head(client, image)
    await overwritten(client, monkeypatch, replace(head, headers=(*head.headers, more)))
    await refused(client, image)


async def test_no_header_can_be_removed_or_moved(client, monkeypatch):
    image = await upload(client, SMALL)
    head = await stored_head(client, image)
    for changed in (
        *(tuple(each for each in head.headers if each[0] != name) for name in BOUND),
        head.headers[::-1],
    ):
        with monkeypatch.context() as context:
            await overwritten(client, context, replace(head, headers=changed))
            await refused(client, image)


async def test_no_byte_of_a_value_can_be_flipped(client, monkeypatch):
    image = await upload(client, LARGE)
    head = await stored_head(client, image)
    client.gateway.finder._cache._max_bytes = 0
    places = [parse(image["id"]).position]
    listed = head.header("imagegate-chunks").decode().split(",")
    places += [Position(*map(int, each.split(":"))) for each in listed[1:]]
    size = int(listed[0])
    assert len(places) == 3
    for number, place in enumerate(places):
        record = (await client.gateway.log.read(IMAGES, place)).record
        for at in (0, len(record.value) // 2, len(record.value) - 17, len(record.value) - 1):
            with monkeypatch.context() as context:
                changed = replace(record, value=flipped(record.value, at))
                await overwritten(client, context, changed)
                first = number * size
                answer = await refused(client, image, range=f"bytes={first}-{first + 9}")
                assert answer == (503, "record-damaged")
        part = {"range": f"bytes={number * size}-{number * size + 9}"}
        assert (await client.get(image["url"], headers=part)).status_code == 206
    # In the middle of a download there is no other answer: it breaks off before the chunk.
    await overwritten(client, monkeypatch, replace(record, value=flipped(record.value, 5)))
    with pytest.raises(RecordDamagedError):
        await client.get(image["url"])


async def test_chunks_of_two_images_and_of_one_cannot_be_swapped(client, monkeypatch):
    one, two = await upload(client, LARGE), await upload(client, LARGE)
    heads = [await stored_head(client, each) for each in (one, two)]
    client.gateway.finder._cache._max_bytes = 0

    def chunk(head, number):
        place = head.header("imagegate-chunks").decode().split(",")[number].split(":")
        return Position(*map(int, place))

    async def record(place):
        return (await client.gateway.log.read(IMAGES, place)).record

    size = int(heads[0].header("imagegate-chunks").decode().split(",")[0])
    mine = await record(chunk(heads[0], 1))
    for other in (chunk(heads[1], 1), chunk(heads[0], 2), heads[1].position, heads[0].position):
        # Under its own key, and under that of the one whose place it takes.
        strange = await record(other)
        for key in (strange.key, mine.key):
            with monkeypatch.context() as context:
                value = strange.value[: len(mine.value)].ljust(len(mine.value), b"\0")
                headers = mine.headers
                changed = replace(strange, position=mine.position, key=key, value=value)
                await overwritten(client, context, replace(changed, headers=headers))
                await refused(client, one, range=f"bytes={size}-{size + 9}")
    # A head with the value of another, and a head in the place of another.
    for changed in (
        replace(heads[0], value=heads[1].value),
        replace(heads[1], position=heads[0].position, key=heads[0].key),
    ):
        with monkeypatch.context() as context:
            await overwritten(client, context, changed)
            assert await refused(client, one) == (503, "record-damaged")


async def test_the_list_of_chunks_cannot_be_changed(client, monkeypatch):
    image = await upload(client, LARGE)
    head = await stored_head(client, image)
    size, first, second = head.header("imagegate-chunks").decode().split(",")
    client.gateway.finder._cache._max_bytes = 0
    for listed in (f"{size},{second},{first}", f"{int(size) + 1},{first},{second}", None):
        changed = [each for each in head.headers if each[0] != "imagegate-chunks"]
        changed += [("imagegate-chunks", listed.encode())] if listed else []
        with monkeypatch.context() as context:
            await overwritten(client, context, replace(head, headers=tuple(changed)))
            await refused(client, image, range=f"bytes={int(size)}-{int(size) + 9}")


async def test_a_copied_head_brings_no_deleted_image_back_whatever_event_is_made_for_it(start):
    client = await start(**sealing(k1=K1))
    image = await upload(client, SMALL)
    head = await stored_head(client, image)
    event = (await client.gateway.log.read(EVENTS, Position(0, image["sequence"]))).record
    assert (await client.delete(image["url"])).status_code == 204
    log = client.gateway.log
    [place] = await log.append(IMAGES, [Record(head.key, head.value, head.headers)])
    copied = str(Address(place, parse(image["id"]).cookie))
    problem(await client.get(f"/images/{copied}"), 404, "image-not-found")
    value = event.value.replace(image["id"].encode(), copied.encode())
    renamed = Record(copied.encode(), value, event.headers)
    in_clear = encode(replace(decode(event), image_id=copied, sealing=None))
    await log.append(EVENTS, [Record(event.key, event.value, event.headers), renamed])
    await client.gateway.feed.caught_up()
    problem(await client.get(f"/images/{copied}"), 404, "image-not-found")
    assert (await client.get("/images")).json()["images"] == []
    # An event in clear does not announce it, though it is listed as any forged one is.
    await log.append(EVENTS, [in_clear])
    await client.gateway.feed.caught_up()
    problem(await client.get(f"/images/{copied}"), 404, "image-not-found")
    problem(await client.get(image["url"]), 410, "image-gone")
    reasons = [r.value for topic, r in await all_records(log) if topic == "image-rejects"]
    assert [b"seal is broken" in each for each in reasons] == [True]


async def test_a_changed_event_is_a_dead_letter_and_its_image_is_not_listed(tmp_path, client):
    image = await upload(client, SMALL)
    log = client.gateway.log
    event = (await log.read(EVENTS, Position(0, image["sequence"]))).record
    other = str(Address(Position(0, 500), bytes(12)))
    for changed in (
        event.value.replace(b'"width": 160', b'"width": 161'),
        event.value.replace(image["id"].encode(), other.encode()),
        event.value.replace(b'"data": {', b'"data": {"owner": "key:mallory", '),
    ):
        assert changed != event.value
        value = changed.replace(image["id"].encode(), other.encode())
        await log.append(EVENTS, [Record(other.encode(), value, event.headers)])
    sealed = base64.b64encode(flipped(base64.b64decode(event.header("imagegate-sealed")), 20))
    headers = tuple((n, sealed if n == "imagegate-sealed" else v) for n, v in event.headers)
    await log.append(EVENTS, [Record(event.key, event.value, headers)])
    await client.gateway.feed.caught_up()
    listed = (await client.get("/images")).json()["images"]
    assert [each["id"] for each in listed] == [image["id"]]
    letters = [r for topic, r in await all_records(log) if topic == "image-rejects"]
    assert len(letters) == 4


@pytest.mark.parametrize(
    "wrapped",
    [b"k1:" + base64.b64encode(bytes(40)), b"k7:" + base64.b64encode(bytes(40)), None],
    ids=["another wrapped key", "a key that is not there", "in clear"],
)
async def test_a_forged_event_that_overtakes_the_image_s_own_gives_way_to_it(
    client, monkeypatch, wrapped
):
    log = client.gateway.log
    append = log.append

    async def overtaken(topic, records, *deadline):
        if topic == EVENTS:
            [own] = records
            value = own.value.replace(b'"width": 160', b'"width": 161')
            headers = tuple((n, wrapped if n == WRAPPED_KEY else v) for n, v in own.headers)
            if wrapped is None:
                headers = own.headers[:1]
            await append(EVENTS, [Record(own.key, value, headers)])
        return await append(topic, records, *deadline)

    with monkeypatch.context() as context:
        context.setattr(log, "append", overtaken)
        image = await upload(client, SMALL)
    await client.gateway.feed.caught_up()
    await check_out(client, image)
    listed = (await client.get("/images")).json()["images"]
    assert listed == [image]
    assert (image["width"], image["filename"]) == (160, NAME)
    assert await client.gateway.catalog.sealed_by() == {"k1": 1}
    # A copy of what is open changes nothing.
    event = (await log.read(EVENTS, Position(0, image["sequence"]))).record
    await append(EVENTS, [Record(event.key, event.value, event.headers)])
    await client.gateway.feed.caught_up()
    assert (await client.get("/images")).json()["images"] == [image]


async def test_a_forged_event_that_came_without_a_key_is_forgotten_when_the_key_comes(tmp_path):
    async with in_process(tmp_path, **sealing(k1=K1)) as client:
        image = await upload(client, SMALL)
        event = (await client.gateway.log.read(EVENTS, Position(0, image["sequence"]))).record
    other = str(Address(Position(0, 500), bytes(12)))
    async with in_process(tmp_path) as client:
        value = event.value.replace(image["id"].encode(), other.encode())
        await client.gateway.log.append(EVENTS, [Record(other.encode(), value, event.headers)])
        await client.gateway.feed.caught_up()
        assert len((await client.get("/images")).json()["images"]) == 2
    with capture_logs() as logs:
        async with in_process(tmp_path, **sealing(k1=K1)) as client:
            async with asyncio.timeout(15):
                while len(listed := (await client.get("/images")).json()["images"]) != 1:
                    await asyncio.sleep(0.02)
            assert [each["id"] for each in listed] == [image["id"]]
    assert [each["event"] for each in logs].count("event_rejected") == 1


async def test_an_image_whose_event_was_not_opened_yet_is_not_served_though_its_key_is_here(
    client, monkeypatch
):
    image = await upload(client, SMALL)

    async def locked(_):
        return CatalogSeal(is_locked=True, is_gone=False, key=None)

    with monkeypatch.context() as context:
        context.setattr(client.gateway.catalog, "seal_of", locked)
        problem(await client.get(image["url"]), 503, "key-unavailable")
    assert (await client.get(image["url"])).status_code == 200


async def test_a_broken_seal_is_reported_once(client, monkeypatch):
    image = await upload(client, SMALL)
    head = await stored_head(client, image)
    await overwritten(client, monkeypatch, replace(head, value=flipped(head.value, 3)))
    with capture_logs() as logs:
        for _ in range(3):
            problem(await client.get(image["url"]), 503, "record-damaged")
    assert [line["event"] for line in logs].count("image_seal_broken") == 1
