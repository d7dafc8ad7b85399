"""Data of an earlier version is served as it was then; tests/data/README.md says who made it."""

import gzip
import hashlib
import json
import shutil
import uuid
from base64 import b64decode
from dataclasses import asdict
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app import settings
from app.events import event as events
from app.log import EVENTS, IMAGES, Position, Record, StoredRecord
from app.main import build_log
from app.records.address import parse
from app.records.image import parse_head
from tests.support.asyncapi import Comparison
from tests.support.in_process import problem

DATA = Path(__file__).parent / "data" / "before_rooms"
# The fields of the API that no record has.
NOT_IN_RECORDS = {"id", "url", "sequence", "created_at", "receipt"}


def answers(name):
    """What the earlier gateway answered."""
    return json.loads((DATA / name).read_text("utf-8"))


def stored_records():
    """Every record of the two topics, with its topic, in the order in which they were stored."""
    for line in gzip.decompress((DATA / "topics.jsonl.gz").read_bytes()).splitlines():
        fields = json.loads(line)
        yield (
            fields["topic"],
            StoredRecord(
                Position(fields["partition"], fields["offset"]),
                fields["key"].encode(),
                b64decode(fields["value"]),
                tuple((name, b64decode(value)) for name, value in fields["headers"]),
                fields["timestamp_ms"],
            ),
        )


def facts(image):
    """The facts of an image's JSON, by the names that records have for them."""
    named = {name: value for name, value in image.items() if name not in NOT_IN_RECORDS}
    named |= image["receipt"]
    for name in ("digest", "received_digest"):
        named[name] = named[name].removeprefix("sha256:")
    return named | {"metadata_removed": tuple(named["metadata_removed"])}


def timeless(images):
    return [image | {"created_at": None} for image in images]


def catalog_events(logs):
    """What was logged of a catalog that is replaced or rebuilt."""
    return [line["event"] for line in logs if line["event"].startswith("catalog_")]


async def expect_downloads(client, expected):
    for image in expected["listed"]["images"]:
        response = await client.get(image["url"])
        digest = hashlib.sha256(response.content).hexdigest()
        assert (response.status_code, f"sha256:{digest}") == (200, image["digest"]), image
        assert expected["headers"][image["id"]].items() <= dict(response.headers).items()
    problem(await client.get(expected["deleted"]["url"]), 410, "image-gone")


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        """A copy, as a gateway writes into its folder."""
        return shutil.copytree(DATA / "folder", tmp_path / "copy")

    async def test_it_is_served_as_it_was_after_its_catalog_was_rebuilt(self, gateways, folder):
        expected = answers("folder.json")
        with capture_logs() as logs:
            client = await gateways(data_dir=folder)
        assert (await client.get("/images?limit=1000")).json() == expected["listed"]
        await expect_downloads(client, expected)
        assert catalog_events(logs) == ["catalog_rebuilding"]

    async def test_without_its_catalog_that_is_rebuilt_from_the_log(self, gateways, folder):
        (folder / "catalog.db").unlink()
        with capture_logs() as logs:
            client = await gateways(data_dir=folder)
        expected = answers("folder.json")
        assert (await client.get("/images?limit=1000")).json() == expected["listed"]
        problem(await client.get(expected["deleted"]["url"]), 410, "image-gone")
        assert catalog_events(logs)


class TestTopics:
    def test_every_head_and_every_event_is_decoded_to_the_facts_of_then(self):
        expected = answers("topics.json")
        of = {image["id"]: facts(image) for image in expected["listed"]["images"]}
        deleted = expected["deleted"]
        heads = {
            record.position: parse_head(record)
            for topic, record in stored_records()
            if topic == IMAGES and record.header("imagegate-chunk") is None
        }
        decoded = [events.decode(record) for topic, record in stored_records() if topic == EVENTS]
        assert decoded.pop() == events.ImageDeleted(deleted["id"])
        of[deleted["id"]] = facts(deleted)
        assert sorted(event.image_id for event in decoded) == sorted(of)
        assert len(heads) == len(decoded)
        for event in decoded:
            assert of[event.image_id].items() <= asdict(event.info).items()
            head = heads[parse(event.image_id).position]
            assert head.info == event.info
            assert (head.chunk_bytes, head.chunks) == (event.chunk_bytes, event.chunks)
        assert {len(event.chunks) for event in decoded} == {0, 2}

    @pytest.mark.parametrize("engine", ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
    async def test_a_gateway_serves_them(self, request, gateways, tmp_path, engine):
        kafka = {}
        if engine == "kafka":
            servers = request.getfixturevalue("kafka").bootstrap_servers
            prefix = f"old-{uuid.uuid4().hex[:8]}-"
            kafka = {"bootstrap_servers": servers, "topic_prefix": prefix, "partitions": 3}
        await write_topics(settings.load(data_dir=tmp_path / "data", kafka=kafka))
        client = await gateways(kafka=kafka)
        expected = answers("topics.json")
        listed = (await client.get("/images?limit=1000")).json()
        # The time of an image is that of its record, and these were stored just now.
        assert timeless(listed["images"]) == timeless(expected["listed"]["images"])
        await expect_downloads(client, expected)

    def test_the_records_are_as_they_are_described_today(self):
        compared = {topic: Comparison(topic) for topic in (IMAGES, EVENTS)}
        for topic, record in stored_records():
            compared[topic].add_record(record)
        for topic, names in ((IMAGES, {"head", "chunk"}), (EVENTS, {"stored", "deleted"})):
            assert {name for name, written in compared[topic].written.items() if written} == names


async def write_topics(to):
    """Store the records in new topics, each at its old position: ids hold that."""
    log = build_log(to)
    await log.start()
    for topic, record in stored_records():
        partition, headers = record.position.partition, record.headers
        written = Record(record.key, record.value, headers, partition)
        assert await log.append(topic, [written]) == [record.position]
    await log.stop()
