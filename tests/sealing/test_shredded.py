"""Images that are erased by their keys, on Kafka: in, out, deleted, and what remains of them."""

import pytest

from app.log import EVENTS, IMAGES, KEYS
from app.records.address import parse
from tests.support.in_process import problem
from tests.support.sealing import (
    K1,
    K2,
    LARGE,
    PACKED,
    SMALL,
    all_records,
    check_out,
    dump,
    ring,
    sealing,
    upload,
)

pytestmark = pytest.mark.kafka

UPLOADS = [(SMALL, "balanced"), (LARGE, "original"), (PACKED, "archive")]


@pytest.fixture
def start(shredding):
    return shredding


async def keys_in(log):
    return await all_records(log, [KEYS])


async def test_an_image_has_its_key_in_a_record_of_its_own_which_a_deletion_ends(start):
    client = await start(kafka={"signing_keys": ring(s1=K2)}, **sealing(k1=K1))
    stored = [await upload(client, data, profile) for data, profile in UPLOADS]
    for image in stored:
        await check_out(client, image)
    assert (await client.get("/images")).json()["images"] == stored[::-1]
    log = client.gateway.log
    keys = [record for _, record in await keys_in(log)]
    assert [bool(record.value) for record in keys] == [True] * len(stored)
    assert {record.header("imagegate-version") for record in keys} == {b"6"}
    assert all(record.header("imagegate-signature") for record in keys)
    records = [each for each in await all_records(log) if each[0] in (IMAGES, EVENTS)]
    assert all(record.value not in dump(records) for record in keys)
    stating = [record for _, record in records if record.header("imagegate-key")]
    assert len(stating) == 2 * len(stored)
    for record in stating:
        assert record.header("imagegate-wrapped-key") is None
        where = parse(record.header("imagegate-key").decode())
        assert where.opens(keys[where.position.offset].key)

    for image in stored:
        assert (await client.delete(image["url"])).status_code == 204
        problem(await client.get(image["url"]), 410, "image-gone")
        assert (await client.delete(image["url"])).status_code == 204
    now = [record for _, record in await keys_in(log)]
    assert [record.key for record in now[len(keys) :]] == [record.key for record in keys]
    assert [record.value for record in now[len(keys) :]] == [None] * len(keys)
