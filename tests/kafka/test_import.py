"""`imagegate import` into Kafka: out of an embedded log, and out of other topics."""

import asyncio

import pytest

from app.log import EVENTS, Position
from app.log.sqlite.log import SqliteLog
from imagegate import ImageReader
from tests.support import commands, images
from tests.support.facts import until
from tests.support.gateway_process import on_kafka
from tests.support.kafka_logs import opened_log
from tests.support.shelf import Shelf
from tests.support.transfers import CHUNK_BYTES, pictures

pytestmark = pytest.mark.kafka

KEYS = {"k1": "a" * 43 + "=", "k2": "b" * 43 + "="}


@pytest.fixture
async def embedded(tmp_path):
    """500 images in an embedded log, of which 20 are deleted, and its folder."""
    log = SqliteLog(tmp_path / "source")
    await log.start()
    shelf = Shelf(log)
    ids = await shelf.put_many(pictures(500), CHUNK_BYTES)
    shelf.deleted = ids[::25]
    for each in shelf.deleted:
        await shelf.delete(each)
    await log.stop()
    return shelf


async def test_every_old_url_is_served_by_two_gateways_however_often_the_import_was_killed(
    embedded, kafka, topics, prefix, new_gateway, tmp_path
):
    async with opened_log(kafka, topic_prefix=prefix) as log:
        for kill in range(3):
            process = commands.start("import", tmp_path / "source", **topics)
            enough = 60 * (kill + 1)
            async with asyncio.timeout(60):
                while (await log.bounds(EVENTS, 0)).end < enough:
                    await asyncio.sleep(0.01)
            assert process.poll() is None
            process.kill()
            assert process.wait(10) == -9
            process.stdout.close()
        killed_at = (await log.bounds(EVENTS, 0)).end
        assert killed_at < 500
    said = commands.run("import", tmp_path / "source", **topics)
    assert f"{len(embedded.stored)} images" not in said
    assert "were there already" in said

    gateways = [new_gateway(data_dir=tmp_path / name, **topics) for name in ("one", "two")]
    order = None
    for gateway in gateways:
        with gateway.client() as client:
            for image_id, data in embedded.stored.items():
                answer = client.get(f"/images/{image_id}")
                assert answer.status_code == 200, answer.text
                assert answer.content == data
            for image_id in embedded.deleted:
                assert client.get(f"/images/{image_id}").status_code == 410
            listed = client.get("/images?limit=1000").json()["images"]
            former = [each["former_ids"] for each in reversed(listed)]
            assert {len(each) for each in former} == {1}
            assert [each for [each] in former] == list(embedded.stored)
            order = order or listed
            assert listed == order
    with gateways[0].client() as one, gateways[1].client() as two:
        old, new = listed[0]["former_ids"][0], listed[0]["id"]
        assert two.delete(f"/images/{old}").status_code == 204
        for image_id in (old, new):
            await until(lambda each=image_id: one.get(f"/images/{each}").status_code == 410)


async def test_out_of_other_topics_with_other_keys_and_in_another_form(
    kafka, topics, new_gateway, tmp_path
):
    source = on_kafka(kafka) | {"IMAGEGATE_KAFKA__SIGNING_KEYS": f"k1:{KEYS['k1']}"}
    target = topics | {
        "IMAGEGATE_KAFKA__SIGNING_KEYS": f"k2:{KEYS['k2']}",
        "IMAGEGATE_KAFKA__VALUE_ENCODING": "base64",
    }
    large = images.png(images.photo((1200, 750), noise=255), compress_level=1, private=False)
    uploads = [(images.jpeg(images.photo((320, 240))), "archive"), (large, "original")]
    before = new_gateway(data_dir=tmp_path / "before", **source)
    with before.client() as client:
        stored = [
            client.post("/images", content=data, params={"profile": profile}).json()
            for data, profile in uploads
        ]
        contents = [client.get(each["url"]).content for each in stored]
    file = tmp_path / "source.env"
    keys = ("IMAGEGATE_KAFKA__TOPIC_PREFIX", "IMAGEGATE_KAFKA__SIGNING_KEYS")
    file.write_text("".join(f"{name}={source[name]}\n" for name in keys))
    said = commands.run("import", kafka.bootstrap_servers, "--source-env", file, **target)
    assert "\n2 images, " in said

    after = new_gateway(data_dir=tmp_path / "after", **target)
    with after.client() as client:
        for image, content in zip(stored, contents, strict=True):
            answer = client.get(image["url"])
            assert (answer.status_code, answer.content) == (200, content)
            told = client.get(f"{image['url']}/metadata").json()
            assert told["former_ids"] == [image["id"]]
            assert told["receipt"] == image["receipt"]
            assert told["created_at"] == image["created_at"]
    prefix = topics["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    async with opened_log(kafka, topic_prefix=prefix) as log:
        event = (await log.read(EVENTS, Position(0, 0))).record
        assert event.header("imagegate-signature").startswith(b"k2:")
    readers = {"topic_prefix": prefix, "signing_keys": f"k2:{KEYS['k2']}"}
    reader = ImageReader(
        bootstrap_servers=kafka.bootstrap_servers, group_id=prefix, follow=False, **readers
    )
    async with reader as read:
        found = [
            (each.former_ids, each.facts["former_ids"], await each.bytes()) async for each in read
        ]
    assert found == [
        ((image["id"],), [image["id"]], content)
        for image, content in zip(stored, contents, strict=True)
    ]


async def test_the_same_topics_are_no_source(kafka, topics, new_gateway, tmp_path):
    new_gateway(data_dir=tmp_path / "one", **topics)
    file = tmp_path / "source.env"
    file.write_text(f"IMAGEGATE_KAFKA__TOPIC_PREFIX={topics['IMAGEGATE_KAFKA__TOPIC_PREFIX']}\n")
    said = commands.run("import", kafka.bootstrap_servers, "--source-env", file, status=2, **topics)
    assert "That is the log to import into" in said
