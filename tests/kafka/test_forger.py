"""Gateways with keys on one Kafka, and a forger with the right to write to every topic."""

import base64
import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from app.events.event import ImageStored, encode
from app.log import EVENTS, IMAGES, Position, Record
from app.records.address import Address, parse
from app.records.image import head_record
from tests.support import images, plain
from tests.support.facts import info
from tests.support.gateway_process import until
from tests.support.kafka_logs import opened_log
from tests.support.signing import K1, K2, THEIRS, keys

pytestmark = pytest.mark.kafka

JPEG = images.jpeg(images.photo((80, 60)))
COOKIE = bytes(range(12))


@pytest.fixture
def signed(topics):
    """The settings of a gateway with a key."""
    return topics | {"IMAGEGATE_KAFKA__SIGNING_KEYS": keys(k1=K1)}


@pytest.fixture
def connect():
    """Open clients that close with the test."""
    with ExitStack() as stack:
        yield lambda gateway: stack.enter_context(gateway.client())


def sign_from(settings):
    """Run the command with these settings."""
    command = [sys.executable, "-m", "app", "topics", "sign-from"]
    environment = os.environ | {name: str(value) for name, value in settings.items()}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def forge(log, signatures=None):
    """Append an image with its event; return its id."""

    def made(topic, record):
        return signatures.sign(topic, record) if signatures else record

    head = head_record(COOKIE, memoryview(bytes(7)), info(content_length=7), 100, ())
    [position] = await log.append(IMAGES, [made(IMAGES, head)])
    image_id = str(Address(position, COOKIE))
    event = encode(ImageStored(image_id, info(content_length=7)))
    await log.append(EVENTS, [made(EVENTS, event)])
    return image_id


async def replay(log, topic, position, **headers):
    """Append a copy of a record, with other headers; return its position."""
    found = (await log.read(topic, position)).record
    changed = tuple((name, headers.get(name, value)) for name, value in found.headers)
    [again] = await log.append(topic, [Record(found.key, found.value, changed)])
    return again


def listed(client):
    return [image["id"] for image in client.get("/images?limit=1000").json()["images"]]


async def letters(kafka, prefix):
    found = (await plain.read(kafka, f"{prefix}image-rejects")).values()
    return {each.key: json.loads(each.value)["reason"] for each in found}


@pytest.mark.apache_kafka
async def test_write_access_to_the_topics_forges_nothing(
    new_gateway, connect, topics, signed, prefix, kafka, tmp_path
):
    # A gateway without keys, and then the same with one.
    with new_gateway(**topics).client() as client:
        before = client.post("/images", content=JPEG).json()
    gateway = new_gateway(data_dir=tmp_path / "first", **signed)
    client = connect(gateway)
    until(lambda: listed(client) == [before["id"]])
    done = sign_from(signed)
    assert done.returncode == 0, done.stderr
    assert "offset 1 of image-events" in done.stdout
    kept, gone = (client.post("/images", content=JPEG).json() for _ in range(2))
    where = parse(gone["id"])

    async with opened_log(kafka, topic_prefix=prefix, partitions=3) as log:
        copied = await replay(log, IMAGES, where.position)
        stored = (await log.read(EVENTS, Position(0, gone["sequence"]))).record
        assert client.delete(gone["url"]).status_code == 204
        forged = [await forge(log), await forge(log, THEIRS)]
        forged.append(str(Address(copied, where.cookie)))
        again = await replay(log, IMAGES, where.position)
        forged.append(str(Address(again, where.cookie)))
        await log.append(EVENTS, [Record(stored.key, stored.value, stored.headers)])
        swap = {"content-type": b"image/png"}
        swapped = await replay(log, IMAGES, parse(kept["id"]).position, **swap)
        forged.append(str(Address(swapped, parse(kept["id"]).cookie)))
        last = await replay(log, EVENTS, stored.position)

    second = new_gateway(data_dir=tmp_path / "second", **signed)
    other = connect(second)
    marker = client.post("/images", content=JPEG).json()
    assert marker["sequence"] > last.offset
    until(lambda: marker["id"] in listed(other))
    for each in (client, other):
        assert listed(each) == [marker["id"], kept["id"], before["id"]]
        for image in (before, kept, marker):
            assert each.get(image["url"]).status_code == 200
        for image_id in forged:
            for path in (f"/images/{image_id}", f"/images/{image_id}/metadata"):
                assert each.get(path).status_code == 404
        assert each.get(gone["url"]).status_code == 410
    assert len(await letters(kafka, prefix)) == 2
    assert gateway.mistakes() == second.mistakes() == []
    for one in (gateway, second):
        assert len([line for line in one.output if '"image_unfit"' in line]) == len(forged)


async def test_a_record_in_the_topics_is_signed_as_the_page_says(
    new_gateway, signed, prefix, kafka
):
    with new_gateway(**signed).client() as client:
        image = client.post("/images", content=JPEG).json()
        client.delete(image["url"])
    stored = await plain.read(kafka, f"{prefix}images", partitions=3)
    events = await plain.read(kafka, f"{prefix}image-events")
    for record in (*stored.values(), *events.values()):
        name, _, signature = dict(record.headers)["imagegate-signature"].partition(b":")
        assert (name, len(base64.b64decode(signature))) == (b"k1", 32)


def test_a_gateway_with_the_next_key_and_the_last_serves_both(new_gateway, signed, tmp_path):
    with new_gateway(data_dir=tmp_path / "first", **signed).client() as client:
        image = client.post("/images", content=JPEG).json()
    both = signed | {"IMAGEGATE_KAFKA__SIGNING_KEYS": keys(k2=K2, k1=K1)}
    with new_gateway(data_dir=tmp_path / "second", **both).client() as client:
        newer = client.post("/images", content=JPEG).json()
        assert listed(client) == [newer["id"], image["id"]]
        assert client.get(image["url"]).content == client.get(newer["url"]).content


def test_without_keys_the_command_says_what_to_set(topics):
    done = sign_from(topics)
    assert (done.returncode, done.stdout) == (2, "")
    assert "IMAGEGATE_KAFKA__SIGNING_KEYS" in done.stderr
