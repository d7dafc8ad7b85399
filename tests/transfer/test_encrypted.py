"""`imagegate import` where one of the logs is encrypted, or both are, with other keys."""

import pytest

from app.log import IMAGES
from tests.support import commands, vault
from tests.support.in_process import in_process
from tests.support.sealing import (
    K1,
    K2,
    LARGE,
    NAME,
    PACKED,
    SMALL,
    all_records,
    check_out,
    dump,
    ring,
    sealing,
    upload,
)

CLEAR, FIRST, SECOND = {}, {"k1": K1}, {"k2": K2}
UPLOADS = [(SMALL, "balanced"), (LARGE, "original"), (PACKED, "archive")]


@pytest.mark.parametrize(
    ("before", "after"), [(CLEAR, FIRST), (FIRST, SECOND)], ids=["from clear", "to another key"]
)
async def test_what_is_moved_is_encrypted_by_the_keys_of_the_target(tmp_path, before, after):
    source, target = tmp_path / "source", tmp_path / "target"
    async with in_process(source, **sealing(**before)) as client:
        stored = [await upload(client, data, profile) for data, profile in UPLOADS]
    keys = {"IMAGEGATE_SEALING__KEYS": ring(**after, **before)}
    output = commands.run("import", source, IMAGEGATE_DATA_DIR=target, **keys)
    assert "3 images" in output
    async with in_process(target, **sealing(**after)) as client:
        listed = (await client.get("/images")).json()["images"]
        assert [each["former_ids"] for each in listed] == [[each["id"]] for each in stored[::-1]]
        for image in listed:
            await check_out(client, image)
        for image in stored:
            assert (await client.get(image["url"])).status_code == 200
        records = await all_records(client.gateway.log)
        assert NAME[:14].encode() not in dump(records)
        parts = [record for topic, record in records if topic == IMAGES]
        assert {each.header("imagegate-encryption") for each in parts} == {b"A256GCM"}
        assert await client.gateway.catalog.sealed_by() == {next(iter(after)): 3}


async def test_an_import_waits_while_vault_is_away_and_leaves_nothing_out(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    async with in_process(source, **sealing(k1=K1)) as client:
        stored = [await upload(client, SMALL) for _ in range(3)]
    with vault.serving() as server:
        server.failing = 2
        named = {"KEYS": ring(k1=K1)} | {
            name.upper(): value for name, value in server.sealing().items()
        }
        environment = {f"IMAGEGATE_SEALING__{name}": value for name, value in named.items()}
        output = commands.run("import", source, IMAGEGATE_DATA_DIR=target, **environment)
        assert "3 images" in output
        assert "import_waits" in output
        async with in_process(target, sealing=server.sealing()) as client:
            for image in stored:
                assert (await client.get(image["url"])).content
            assert await client.gateway.catalog.sealed_by() == {"vault:imagegate:v1": 3}


async def test_an_image_whose_key_is_missing_is_not_moved_and_is_once_it_is_there(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    async with in_process(source, **sealing(k1=K1)) as client:
        sealed = await upload(client, SMALL)
    async with in_process(source) as client:
        clear = await upload(client, SMALL)
    assert "1 could not be moved" in commands.run(
        "import", source, status=1, IMAGEGATE_DATA_DIR=target
    )
    keys = {"IMAGEGATE_SEALING__KEYS": ring(k2=K2, k1=K1)}
    assert "1 images" in commands.run("import", source, IMAGEGATE_DATA_DIR=target, **keys)
    async with in_process(target, **sealing(k2=K2)) as client:
        listed = (await client.get("/images")).json()["images"]
        assert [each["former_ids"] for each in listed] == [[sealed["id"]], [clear["id"]]]
        for image in listed:
            await check_out(client, image)
