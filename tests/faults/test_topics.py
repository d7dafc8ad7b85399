"""Topics that others change: records deleted, foreign ones written, topics created again."""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from app.log import Position
from app.records.address import Address, new_cookie, parse
from tests.support import plain
from tests.support.checker import CHUNKED, SETTINGS, SMALL
from tests.support.gateway_process import on_kafka, until
from tests.support.plain import FITTING

pytestmark = pytest.mark.apache_kafka

OVERSIZE = 3_000_000
DEAD_LETTER_SECONDS = 30


async def test_records_that_retention_deletes_are_gone_from_listings_too(
    new_broker, new_gateway, tmp_path
):
    broker = new_broker()
    settings = on_kafka(broker)
    topic = f"{settings['IMAGEGATE_KAFKA__TOPIC_PREFIX']}images"
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        kept = [client.post("/images", content=data).json() for data in SMALL]
        chunked, chunk = await chunk_elsewhere(client, broker, topic)
        kept += [client.post("/images", content=data).json() for data in SMALL]
        alone = client.post("/images", content=SMALL[0]).json()

        await plain.delete_before(broker, topic, chunk.partition, chunk.offset + 1)
        lost = [image for image in [*kept, alone] if is_before(image, chunk)] + [chunked]
        kept = [image for image in [*kept, alone] if image not in lost]
        for image in lost:
            for method, path in (("GET", ""), ("HEAD", ""), ("GET", "/metadata")):
                assert client.request(method, image["url"] + path).status_code == 410
        ranged = client.get(chunked["url"], headers={"Range": "bytes=0-9"})
        assert ranged.status_code == 410
        until(lambda: listed(client) == [image["id"] for image in kept[::-1]])
        for image in kept:
            assert client.get(image["url"]).status_code == 200
        other = new_gateway(data_dir=tmp_path / "other", **settings)
        with other.client() as second:
            until(lambda: listed(second) == listed(client))
        # Its head is still there: it can be deleted, and the event says so.
        assert client.delete(chunked["url"]).status_code == 204
    assert gateway.mistakes() == other.mistakes() == []


async def test_strangers_records_in_both_topics(new_broker, new_gateway, checker):
    broker = new_broker()
    settings = on_kafka(broker) | SETTINGS
    prefix = settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    gateway = new_gateway(**settings)
    for role in ("images", "image-events"):
        limits = {"max_message_bytes": 2 * OVERSIZE}
        await plain.alter(broker, f"{prefix}{role}", **FITTING | limits)
    async with checker(gateway) as clients:
        await clients.more_stored()
        offsets = await write_strangely(broker, f"{prefix}image-events")
        places = await write_strangely(broker, f"{prefix}images")
        await clients.more_stored()
        forged = [str(Address(Position(0, offset), new_cookie())) for offset in places]
        for image_id in forged:
            assert (await clients.get(f"/images/{image_id}")).status_code == 404
        await clients.finish()
    expected = {f"image-events:0:{offset}" for offset in offsets}
    letters = await plain.read(broker, f"{prefix}image-rejects")
    keys = [record.key.decode() for record in letters.values()]
    assert sorted(keys) == sorted(expected)
    assert all(json.loads(record.value)["reason"] for record in letters.values())


async def test_partitions_added(new_broker, gateway_on, checker, tmp_path, new_gateway):
    broker = new_broker()
    gateway = gateway_on(broker)
    prefix = gateway.environment["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    async with checker(gateway) as clients:
        await clients.more_stored()
        await plain.add_partitions(broker, f"{prefix}images", 12)
        other = await asyncio.to_thread(
            lambda: new_gateway(data_dir=tmp_path / "other", **gateway.environment)
        )
        async with other.async_client() as second:
            for number in range(20):
                answer = await second.post("/images", content=SMALL[number % len(SMALL)])
                assert answer.status_code == 201
                assert (await clients.get(answer.json()["url"])).status_code == 200
                # The checker knows its own images alone.
                assert (await second.delete(answer.json()["url"])).status_code == 204
        await clients.more_stored()
        await clients.finish()
    assert other.mistakes() == []

    await plain.add_partitions(broker, f"{prefix}image-events", 2)
    with gateway.client() as client:
        said = until(lambda: misfit(client.get("/health/ready")), 90)
        assert "image-events has 2 partitions and needs exactly one" in said
        for _ in range(5):
            answer = client.post("/images", content=SMALL[0])
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert sum("kafka_topics_misfit" in line for line in gateway.output) == 1


@pytest.mark.parametrize("roles", [("image-events",), ("images", "image-events"), ("images",)])
async def test_topics_deleted_and_created_again_under_a_running_gateway(
    new_broker, new_gateway, tmp_path, roles
):
    broker = new_broker()
    settings = on_kafka(broker) | {"IMAGEGATE_KAFKA__PARTITIONS": 1}
    prefix = settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        old = [client.post("/images", content=data).json() for data in SMALL[:3]]
        assert client.delete(old[0]["url"]).status_code == 204
        await plain.delete(broker, *(f"{prefix}{role}" for role in roles))
        for role in roles:
            await plain.create(broker, f"{prefix}{role}", **FITTING)
        other = new_gateway(data_dir=tmp_path / "other", **settings)
        with other.client() as second:
            # More records than before, so that other ones are stored at the old offsets.
            new = [second.post("/images", content=data).json() for data in SMALL * 2]
            if "image-events" in roles:
                until(lambda: listed(client) == [image["id"] for image in new[::-1]], 60)
            until(lambda: client.get("/health/ready").status_code == 200, 90)
            for image in new:
                assert digest_of(client.get(image["url"])) == image["digest"]
            for image in old:
                answer = client.get(image["url"])
                assert answer.status_code in {200, 404, 410}
                if answer.status_code == 200:
                    assert digest_of(answer) == image["digest"]
            assert client.get(old[0]["url"]).status_code in {404, 410}
            more = until(lambda: stored(client.post("/images", content=SMALL[0])), 60)
            until(lambda: listed(second)[0] == more["id"])
    assert gateway.mistakes() == other.mistakes() == []


def test_another_cluster_behind_the_address_of_a_running_gateway(new_broker, new_gateway, tmp_path):
    first = new_broker()
    settings = on_kafka(first) | {"IMAGEGATE_KAFKA__PARTITIONS": 1}
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        old = [client.post("/images", content=data).json() for data in SMALL[:3]]
        first.kill()
        second = new_broker(port=first.port)
        other = new_gateway(data_dir=tmp_path / "other", **settings)
        with other.client() as another:
            new = [another.post("/images", content=data).json() for data in SMALL * 2]
            until(lambda: listed(client) == [image["id"] for image in new[::-1]], 90)
            for image in new:
                assert digest_of(client.get(image["url"])) == image["digest"]
            for image in old:
                answer = client.get(image["url"])
                assert answer.status_code in {404, 410} or digest_of(answer) == image["digest"]
            until(lambda: client.get("/health/ready").status_code == 200, 60)
            more = until(lambda: stored(client.post("/images", content=SMALL[0])), 60)
            until(lambda: listed(another)[0] == more["id"])
        second.kill()
    assert gateway.mistakes() == other.mistakes() == []


async def test_limits_of_a_topic_changed_under_a_running_gateway(new_broker, gateway_on, checker):
    broker = new_broker()
    gateway = gateway_on(broker)
    topic = f"{gateway.environment['IMAGEGATE_KAFKA__TOPIC_PREFIX']}images"
    async with checker(gateway) as clients:
        await clients.more_stored()
        await plain.alter(broker, topic, **FITTING, max_message_bytes=200_000)
        # A record over it fails without a certain outcome, until the watch has looked at the topic.
        await clients.until(lambda: "the topic has other limits" in "".join(gateway.output))
        await clients.more_stored(40)
        await plain.alter(broker, topic, **FITTING, max_message_bytes=100_000)
        await clients.ready(wanted=False, seconds=90)
        said = (await clients.get("/health/ready")).json()["detail"]
        assert "max.message.bytes=100000, which does not fit" in said
        await plain.alter(broker, topic, **FITTING)
        await clients.ready()
        await clients.more_stored()
        await clients.finish()
    assert sum("kafka_topics_misfit" in line for line in gateway.output) == 1


async def chunk_elsewhere(client, broker, topic):
    """Upload chunked images until one has a chunk in another partition than its head."""
    while True:
        image = client.post("/images", content=CHUNKED).json()
        head = parse(image["id"]).position
        records = await plain.read(broker, topic, 3)
        listed_chunks = dict(records[head.partition, head.offset].headers)["imagegate-chunks"]
        for text in listed_chunks.decode().split(",")[1:]:
            partition, offset = map(int, text.split(":"))
            if partition != head.partition:
                return image, Position(partition, offset)


def is_before(image, position):
    head = parse(image["id"]).position
    return head.partition == position.partition and head.offset <= position.offset


async def write_strangely(broker, topic):
    """Write foreign records, transactions included; return their offsets."""
    records = [(None, b"garbage"), (b"key", b""), (b"key", None), (b"k", b"{}"), (None, b"\xff")]
    offsets = []
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, max_request_size=2 * OVERSIZE
    )
    await producer.start()
    for key, value in [*records, (b"k", bytes(OVERSIZE))]:
        sent = await producer.send_and_wait(topic, value, key=key, partition=0)
        offsets.append(sent.offset)
    await producer.stop()
    transactional = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, transactional_id=f"stranger-of-{topic}"
    )
    await transactional.start()
    for end in (transactional.commit_transaction, transactional.abort_transaction):
        await transactional.begin_transaction()
        sent = await transactional.send_and_wait(topic, b"in a transaction", partition=0)
        offsets.append(sent.offset)
        await end()
    await transactional.stop()
    return offsets


def listed(client):
    answer = client.get("/images?limit=1000")
    return [image["id"] for image in answer.json().get("images", [])]


def stored(answer):
    assert answer.status_code in {201, 503, 504}
    return answer.json() if answer.status_code == 201 else None


def digest_of(answer):
    assert answer.status_code == 200, answer.text
    return f"sha256:{answer.headers['etag'].strip(chr(34))}"


def misfit(answer):
    detail = answer.json().get("detail", "")
    return detail if "partitions and needs" in detail else None
