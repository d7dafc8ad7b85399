"""`imagegate import` into Kafka: out of an embedded log, and out of other topics."""

import asyncio
import random

import pytest

from app.errors import NotWrittenError, OutcomeUnknownError
from app.log import EVENTS, Position
from app.log.sqlite.log import SqliteLog
from app.reader.source import ReadingHalf
from app.reader.view import View
from app.records.signature import NO_SIGNATURES
from app.records.writer import ImageWriter
from app.transfer.copy import Copier
from app.transfer.transfer import Transfer
from imagegate import ImageReader
from tests.support import commands, images
from tests.support.facts import until
from tests.support.gateway_process import on_kafka
from tests.support.kafka_logs import opened_log
from tests.support.shelf import Shelf

pytestmark = pytest.mark.kafka

CHUNK_BYTES = 16_384
KEYS = {"k1": "a" * 43 + "=", "k2": "b" * 43 + "="}


def pictures(count, seed=1):
    """Bytes of many sizes, a fifth of them larger than a chunk."""
    order = random.Random(seed)
    return [order.randbytes(order.choice((900, 2_000, 5_000, 9_000, 40_000))) for _ in range(count)]


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


class Flaky:
    """A log whose appends fail now and then, before or after they have worked."""

    def __init__(self, log):
        self._log = log
        self._order = random.Random(7)
        self.failures = 0

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def append(self, topic, records, deadline=None):
        outcome = self._order.random()
        if outcome < 0.1:
            self.failures += 1
            raise NotWrittenError("Provoked.")
        places = await self._log.append(topic, records, deadline)
        if outcome > 0.9:
            self.failures += 1
            raise OutcomeUnknownError("Provoked.", [], None)
        return places


async def test_appends_that_fail_are_repeated_and_nothing_comes_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("app.transfer.transfer._RETRY_SECONDS", 0.001)
    source_log, log = SqliteLog(tmp_path / "source"), SqliteLog(tmp_path / "target")
    await source_log.start()
    await log.start()
    shelf, flaky = Shelf(source_log), Flaky(log)
    ids = await shelf.put_many(pictures(100), CHUNK_BYTES)
    for each in ids[::10]:
        await shelf.delete(each)
    source = View(ReadingHalf(source_log), tmp_path / "of-source", NO_SIGNATURES)
    target = View(ReadingHalf(log), tmp_path / "of-target", NO_SIGNATURES)
    await source.open()
    await target.open()
    copier = Copier(source, flaky, ImageWriter(flaky), target)
    transfer = Transfer(source_log, source, flaky, target, copier, NO_SIGNATURES)
    await transfer.run()
    assert flaky.failures > 10
    assert (transfer.counts.moved, transfer.counts.failed) == (90, 0)
    await target.filled()
    listed = await target.catalog.newest(1000)
    assert [each.former_ids[0] for each in reversed(listed)] == list(shelf.stored)
    for each in ids[::10]:
        assert (await target.catalog.known(each)).ownership.is_deleted
    for view in (source, target):
        await view.close()
    for each in (source_log, log):
        await each.stop()
