"""Encrypted images through HTTP: in, out by every way, and no name of theirs in the log."""

import pytest

from app.log import EVENTS, IMAGES
from app.records.address import parse
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

UPLOADS = [(SMALL, "balanced"), (LARGE, "original"), (PACKED, "archive")]


@pytest.mark.parametrize("encoding", ["raw", "base64"])
async def test_every_kind_of_image_goes_in_encrypted_and_out_as_it_was(start, encoding):
    options = {"value_encoding": encoding, "signing_keys": ring(s1=K2)}
    client = await start(kafka=options, **sealing(k1=K1))
    stored = [await upload(client, data, profile) for data, profile in UPLOADS]
    for image in stored:
        await check_out(client, image)
    listed = (await client.get("/images")).json()["images"]
    assert listed == stored[::-1]
    records = await all_records(client.gateway.log)
    written = dump(records)
    for secret in (b"Ottilie", b"Zwirnmeier", SMALL[200:216], LARGE[5000:5016], K1):
        assert secret not in written
    parts = [record for topic, record in records if topic == IMAGES]
    is_base64 = encoding == "base64" and start.is_on_kafka
    assert len(parts) == (6 if is_base64 else 5)
    assert {record.header("imagegate-version") for record in parts} == {b"4"}
    assert {record.header("imagegate-encryption") for record in parts} == {b"A256GCM"}
    assert max(len(record.value) for record in parts) == 1_000_000
    for image in stored:
        assert (await client.delete(image["url"])).status_code == 204
        assert (await client.get(image["url"])).status_code == 410


async def test_keys_that_are_rotated_in_between_open_what_they_sealed(start):
    clear = await upload(await start(), SMALL)
    await start.stop()
    older = await upload(await start(**sealing(k1=K1)), LARGE)
    await start.stop()
    client = await start(**sealing(k2=K2, k1=K1))
    newer = await upload(client, SMALL)
    for image in (clear, older, newer):
        await check_out(client, image)
    assert await client.gateway.catalog.sealed_by() == {"k1": 1, "k2": 1}
    wrapped = {
        record.header("imagegate-wrapped-key").partition(b":")[0]
        for topic, record in await all_records(client.gateway.log)
        if record.header("imagegate-wrapped-key")
    }
    assert wrapped == {b"k1", b"k2"}


async def test_each_image_has_a_key_of_its_own_and_no_nonce_is_used_twice(start):
    client = await start(**sealing(k1=K1))
    stored = [await upload(client, LARGE) for _ in range(2)]
    heads = [
        (await client.gateway.log.read(IMAGES, parse(each["id"]).position)).record
        for each in stored
    ]
    assert heads[0].header("imagegate-wrapped-key") != heads[1].header("imagegate-wrapped-key")
    assert heads[0].value != heads[1].value
    fields = [record.header("imagegate-sealed") for record in heads]
    events = [r for topic, r in await all_records(client.gateway.log) if topic == EVENTS]
    fields += [record.header("imagegate-sealed") for record in events]
    # 1 and eleven random bytes: sixteen letters of Base64.
    assert len({each[:16] for each in fields}) == 4
