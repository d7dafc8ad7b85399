"""Topics at start: created as needed, or refused with a message that names them."""

import math
import time

import pytest

from dev.kafka.ports import HOST, free_port
from tests.support import commands, images, plain
from tests.support.gateway_process import BOUNDED, GatewayProcess, on_kafka, until
from tests.support.plain import FITTING

CHUNKED = images.png(images.photo((720, 640), noise=255), compress_level=1, private=False)


@pytest.fixture
def refused(tmp_path):
    """Start a gateway that refuses to start; return its one line."""

    def start(**environment):
        with GatewayProcess(tmp_path / "data", **environment) as gateway:
            status, output = gateway.refuses("--port", "0")
        assert status == 2, output
        assert "Traceback" not in output
        [line] = [line for line in output.splitlines() if line.startswith("imagegate: ")]
        return line

    return start


@pytest.mark.apache_kafka
@pytest.mark.parametrize(
    ("role", "partitions", "config", "said"),
    [
        ("images", 3, {"message_timestamp_type": "CreateTime"}, "message.timestamp.type"),
        ("images", 3, {"max_message_bytes": 100_000}, "max.message.bytes"),
        ("images", 3, {"min_insync_replicas": 2}, "min.insync.replicas"),
        ("images", 3, {"cleanup_policy": "compact"}, "cleanup.policy"),
        ("image-events", 2, {}, "2 partitions"),
        ("image-events", 1, {"retention_ms": 604_800_000}, "retention.ms"),
        ("image-events", 1, {"retention_bytes": 1_000_000_000}, "retention.bytes"),
    ],
)
async def test_a_topic_that_does_not_fit_is_named_with_what_is_wrong(
    refused, topics, prefix, kafka, role, partitions, config, said
):
    await plain.create(kafka, prefix + role, partitions, **FITTING | config)
    message = refused(**topics)
    assert prefix + role in message
    assert said in message


@pytest.mark.apache_kafka
async def test_a_lower_limit_of_the_topic_makes_smaller_chunks(new_gateway, topics, prefix, kafka):
    limit = 200_000
    await plain.create(kafka, f"{prefix}images", 3, max_message_bytes=limit, **FITTING)
    gateway = new_gateway(**topics)
    with gateway.client() as client:
        image = client.post("/images", content=CHUNKED).json()
        served = client.get(image["url"])
        assert f'"{image["digest"].split(":")[1]}"' == served.headers["etag"]
        assert images.same_pixels(images.pixels(served.content), images.pixels(CHUNKED))
    records = await plain.read(kafka, f"{prefix}images", partitions=3)
    sizes = [len(record.value) for record in records.values()]
    assert sum(sizes) == image["content_length"]
    assert max(sizes) <= limit
    # No smaller than necessary, either.
    assert len(sizes) <= math.ceil(image["content_length"] / (limit * 3 / 4))


@pytest.mark.apache_kafka
async def test_missing_topics_are_created_as_they_must_be(new_gateway, topics, prefix, kafka):
    new_gateway(**topics)
    for role, partitions in (("images", 3), ("image-events", 1), ("image-rejects", 1)):
        assert await plain.partition_count(kafka, prefix + role) == partitions
        config = await plain.configuration(kafka, prefix + role)
        for name, value in {
            "cleanup.policy": "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
        }.items():
            assert config[name] == value, (role, name)


@pytest.mark.apache_kafka
async def test_a_deleted_topic_is_not_recreated_by_requests_for_it(new_broker, new_gateway):
    broker = new_broker({"auto.create.topics.enable": "true"})
    gateway = new_gateway(**on_kafka(broker), **BOUNDED)
    topic = f"{gateway.environment['IMAGEGATE_KAFKA__TOPIC_PREFIX']}images"
    with gateway.client() as client:
        assert client.post("/images", content=CHUNKED).status_code == 201
        await plain.delete(broker, topic)
        # An upload that fails has the gateway look at its topics.
        assert client.post("/images", content=CHUNKED).status_code in {503, 504}
        said = until(lambda: "no topic" in client.get("/health/ready").text)
        assert said
        assert client.post("/images", content=CHUNKED).status_code == 503
    async with plain.admin(broker) as admin:
        assert topic not in await admin.list_topics()


@pytest.mark.kafka
async def test_a_second_start_leaves_the_topics_alone(new_gateway, topics, prefix, kafka):
    gateway = new_gateway(**topics)
    assert gateway.terminate() == 0
    gateway.environment["IMAGEGATE_KAFKA__PARTITIONS"] = "7"
    gateway.start()
    assert await plain.partition_count(kafka, f"{prefix}images") == 3


@pytest.mark.parametrize(
    "address", [f"{HOST}:{free_port()}", "no-such-host.invalid:9092"], ids=["port", "host"]
)
def test_a_broker_that_is_not_there_is_named_within_the_timeout(refused, address):
    started = time.monotonic()
    message = refused(
        IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS=address, IMAGEGATE_KAFKA__CONNECT_TIMEOUT_SECONDS=1
    )
    assert address in message
    # Python, the imports and a busy machine take the rest.
    assert time.monotonic() - started < 10


@pytest.mark.apache_kafka
@pytest.mark.parametrize("arguments", [("sweep",), ("forget", "--owner", "key:h3x8w2")])
def test_what_deletes_images_refuses_missing_topics_and_creates_none(kafka, arguments):
    settings = on_kafka(kafka)
    said = commands.run(*arguments, status=2, **settings)
    name = f"{settings['IMAGEGATE_KAFKA__TOPIC_PREFIX']}image-events"
    assert f"no topic {name}" in said
    assert f"no topic {name}" in commands.run(*arguments, status=2, **settings)
