"""Heads and chunks that another program wrote: refused with bounded work, and reported once."""

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from app.delivery import unfit
from app.log import IMAGES, Position, Record
from app.records import image as records
from app.records.address import Address
from tests.support.facts import info, watchdog
from tests.support.in_process import problem

COOKIE = bytes(range(12))
SIZE = 16_384


async def forge(client, chunks, length=None, **headers):
    """Append a head that lists these chunks; return the path of its image."""
    value = memoryview(bytes(SIZE))
    described = info(content_length=length or SIZE * (len(chunks) + 1))
    head = records.head_record(COOKIE, value, described, SIZE, chunks)
    changed = {**dict(head.headers), **headers}
    [position] = await client.gateway.log.append(
        IMAGES, [Record(head.key, head.value, tuple(changed.items()))]
    )
    return f"/images/{Address(position, COOKIE)}"


@pytest.fixture
def asked(client, monkeypatch):
    """The partitions of which the log was asked for the bounds."""
    partitions, bounds = [], client.gateway.log.bounds

    async def spy(topic, partition):
        if topic == IMAGES:
            partitions.append(partition)
        return await bounds(topic, partition)

    monkeypatch.setattr(client.gateway.log, "bounds", spy)
    return partitions


def count():
    return REGISTRY.get_sample_value("imagegate_unfit_images_total")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_head_that_names_50_000_partitions_is_not_found_at_once(client, asked, method):
    listed = b",".join([b"1", *(b"%d:0" % number for number in range(50_000))])
    url = await forge(client, (), **{"imagegate-chunks": listed})
    with watchdog(5):
        response = await client.request(method, url)
    assert response.status_code == 404
    assert asked == []


async def test_as_many_partitions_are_looked_at_as_there_are_and_one(client, asked):
    there = client.gateway.log.partitions(IMAGES)
    url = await forge(client, [Position(number, 0) for number in range(4_000)])
    problem(await client.get(url), 404, "image-not-found")
    assert sorted(asked) == list(range(there + 1))


async def test_a_partition_that_was_added_since_the_start_counts(client, asked, monkeypatch):
    places = await client.gateway.log.append(
        IMAGES, records.chunk_records(COOKIE, memoryview(bytes(2 * SIZE)), SIZE)
    )
    url = await forge(client, places)
    monkeypatch.setattr(client.gateway.log, "partitions", lambda _: 0)
    assert (await client.get(url)).content == bytes(2 * SIZE)
    assert asked == [places[0].partition]


async def test_it_is_reported_once_however_often_it_is_requested(client):
    url = await forge(client, (), length=SIZE + 1)
    before = count()
    with capture_logs() as logs:
        for _ in range(3):
            problem(await client.get(url), 404, "image-not-found")
    [line] = [line for line in logs if line["event"] == "image_unfit"]
    assert line["log_level"] == "error"
    assert "length" in line["reason"]
    assert count() == before + 1


def test_no_more_is_remembered_than_a_bounded_number(monkeypatch):
    monkeypatch.setattr(unfit, "_REMEMBERED", 3)
    reported = unfit.UnfitRecords()
    before = count()
    for offset in (0, 1, 2, 3, 3, 2, 1, 0):
        reported.report(Position(0, offset), "why")
    assert count() == before + 5
    assert len(reported._reported) == 3


@pytest.mark.parametrize("length", [SIZE - 1, SIZE + 1, 0])
async def test_a_chunk_of_another_length_is_not_found_before_the_first_byte(client, length):
    [chunk] = records.chunk_records(COOKIE, memoryview(bytes(2 * SIZE)), SIZE)
    wrong = Record(chunk.key, bytes(length), chunk.headers)
    url = await forge(client, await client.gateway.log.append(IMAGES, [wrong]))
    with capture_logs() as logs:
        for _ in range(2):
            part = {"range": f"bytes={SIZE}-{SIZE + 9}"}
            problem(await client.get(url, headers=part), 404, "image-not-found")
    assert [line["event"] for line in logs].count("image_unfit") == 1


async def test_a_packed_head_that_announces_petabytes_reserves_no_more_than_there_is(gateways):
    client = await gateways(upload={"patience_seconds": 0})
    packed = {
        "content-type": b"image/jpeg",
        "content-encoding": b"lepton",
        "content-length": b"%d" % (2**53 - 1),
        "imagegate-stored-length": b"%d" % SIZE,
    }
    url = await forge(client, (), **packed)
    for _ in range(2):
        problem(await client.get(url), 503, "not-unpacked")
