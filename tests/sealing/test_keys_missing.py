"""Gateways without the key of an image: its bytes are not served, and all heals with the key."""

import asyncio
import json

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support import images
from tests.support.in_process import in_process, problem
from tests.support.sealing import (
    K1,
    K2,
    LARGE,
    NAME,
    OTHER,
    SMALL,
    check_out,
    ring,
    sealing,
    until_named,
    upload,
)

WITHOUT = [sealing(), sealing(k1=OTHER), sealing(k2=K2)]
KINDS = ["no key", "another key of this name", "a key of another name"]


def missed():
    return REGISTRY.get_sample_value("imagegate_keys_unavailable_total")


@pytest.mark.parametrize("wrong", WITHOUT, ids=KINDS)
async def test_without_the_key_it_is_listed_without_a_name_and_503_until_the_key_comes(
    start, wrong, tmp_path
):
    first = await start(**sealing(k1=K1))
    small, large = await upload(first, SMALL), await upload(first, LARGE)
    await start.stop()
    # So does a rebuild of the catalog.
    start.forget_catalog()
    client = await start(**wrong)
    before = missed()
    with capture_logs() as logs:
        told = problem(await client.get(small["url"]), 503, "key-unavailable")
    # A name of a key is for operators alone.
    assert "k1" not in str(told)
    [said] = [each["detail"] for each in logs if each["event"] == "request_failed"]
    assert "k1" in said
    for image in (small, large):
        for headers in ({}, {"range": "bytes=0-9"}):
            refused = await client.get(image["url"], headers=headers)
            problem(refused, 503, "key-unavailable")
            assert refused.headers["retry-after"]
            assert refused.headers["cache-control"] == "no-store"
        assert (await client.head(image["url"])).status_code == 503
        described = await client.get(f"{image['url']}/metadata")
        assert described.json() == image | {"filename": None}
    assert missed() >= before + 6
    listed = (await client.get("/images")).json()["images"]
    assert [(each["id"], each["filename"]) for each in listed] == [
        (large["id"], None),
        (small["id"], None),
    ]
    # What needs no key goes on.
    assert (await client.get("/health/ready")).status_code == 200
    assert (await client.delete(large["url"])).status_code == 204
    problem(await client.get(large["url"]), 410, "image-gone")
    await start.stop()
    client = await start(**sealing(k1=K1))
    await until_named(client, small["id"], NAME)
    await check_out(client, small)
    assert REGISTRY.get_sample_value("imagegate_locked_images") in (0, 1)


async def test_a_key_that_is_put_into_the_file_opens_what_is_locked_without_a_restart(
    start, tmp_path
):
    first = await start(**sealing(k1=K1))
    image = await upload(first, SMALL)
    await start.stop()
    start.forget_catalog()
    file = tmp_path / "sealing-keys"
    file.write_text(ring(k2=K2))
    client = await start(sealing={"keys_file": str(file)})
    problem(await client.get(image["url"]), 503, "key-unavailable")
    file.write_text(ring(k2=K2, k1=K1).replace(",", "\n"))
    await until_named(client, image["id"], NAME)
    await check_out(client, image)
    newer = await upload(client, SMALL)
    assert await client.gateway.catalog.sealed_by() == {"k1": 1, "k2": 1}
    # And one that is taken out closes them again.
    file.write_text(ring(k2=K2))
    async with asyncio.timeout(15):
        while (refused := await client.get(image["url"])).status_code == 200:
            await asyncio.sleep(0.02)
    problem(refused, 503, "key-unavailable")
    assert (await client.get(f"{image['url']}/metadata")).json()["filename"] == NAME
    await check_out(client, newer)


async def test_a_list_names_an_image_that_it_showed_before_its_key_came(tmp_path):
    folder, file = tmp_path / "data", tmp_path / "sealing-keys"
    async with in_process(folder, **sealing(k1=K1)) as client:
        image = await upload(client, SMALL)
    for each in folder.glob("catalog.db*"):
        each.unlink()
    file.write_text(ring(k2=K2))
    async with in_process(folder, sealing={"keys_file": str(file)}) as client:
        assert (await client.get("/images")).json()["images"] == [image | {"filename": None}]
        file.write_text(ring(k2=K2, k1=K1))
        await until_named(client, image["id"], NAME)
        assert (await client.get("/images")).json()["images"] == [image]


async def test_a_gateway_without_keys_goes_on_with_images_in_clear(start):
    sealed = await upload(await start(**sealing(k1=K1)), SMALL)
    await start.stop()
    client = await start()
    clear = await upload(client, images.jpeg(images.photo((80, 60))))
    assert json.loads((await client.get(f"{clear['url']}/metadata")).text)["filename"] == NAME
    assert (await client.get(clear["url"])).status_code == 200
    assert (await client.head(sealed["url"])).status_code == 503
