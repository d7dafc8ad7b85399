"""Topics in tiered storage (KIP-405): for clients nothing changes when no broker keeps a segment.

Each record of all three topics is in the remote storage alone before a test reads it.
"""

import asyncio
import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import SimpleNamespace

import httpx
import pytest

from dev.kafka.broker import Broker
from dev.kafka.jars import JARS
from imagegate import ImageReader
from tests.support import images, plain, tiered
from tests.support.checker import CHUNKED, SMALL
from tests.support.gateway_process import GatewayProcess, on_kafka, until
from tests.support.kafka_fixtures import TEST_JVM_OPTIONS

pytestmark = pytest.mark.apache_kafka

PARTITIONS = 2
# A stalled read is 503 after it, and must be repeated at least once before, on a busy machine too.
READ_SECONDS = 4


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    if missing := JARS.missing_tools():
        pytest.skip(f"needs a broker of its own: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("tiered")
    remote = folder / "remote"
    remote.mkdir()
    options = {"properties": tiered.properties(remote), "jvm_options": TEST_JVM_OPTIONS}
    started = Broker(folder / "kafka", **options)
    started.start()
    yield tiered.TieredBroker(started, remote)
    # A clean stop waits for the reads that were stalled: 30 s.
    started.kill()


@pytest.fixture(scope="module")
def settings(broker):
    return on_kafka(broker) | {
        "IMAGEGATE_KAFKA__READ_TIMEOUT_SECONDS": READ_SECONDS,
        "IMAGEGATE_DELIVERY__CACHE_BYTES": 0,
        "IMAGEGATE_IMAGING__WORKERS": 1,
    }


@pytest.fixture(scope="module")
def prefix(settings):
    return settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"]


@pytest.fixture(scope="module")
def gateway(broker, settings, prefix, tmp_path_factory):
    """A gateway; topics of the given configuration are those that it finds at start."""
    for role, partitions in (("images", PARTITIONS), ("image-events", 1), ("image-rejects", 1)):
        asyncio.run(plain.create(broker, prefix + role, partitions, **tiered.TIERED))
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), **settings) as gateway:
        yield gateway.start()
        assert gateway.mistakes() == []


@pytest.fixture(scope="module")
def stored(gateway, broker, prefix):
    """Images in the remote storage alone, oldest first: JSON and bytes by id."""
    with gateway.client() as client:
        found = {}
        for data in (*SMALL, CHUNKED, CHUNKED):
            image = client.post("/images", content=data).json()
            found[image["id"]] = SimpleNamespace(**image, bytes=client.get(image["url"]).content)
    for partition in range(PARTITIONS):
        broker.await_remote_alone(f"{prefix}images", partition)
    broker.await_remote_alone(f"{prefix}image-events")
    return found


@pytest.fixture
def client(gateway):
    with gateway.client() as client:
        yield client


def partition_of(image_id):
    return int.from_bytes(base64.b32decode(image_id.upper())[:2], "big")


def test_images_that_no_broker_keeps_are_served_byte_for_byte(stored, client):
    assert sum(len(image.bytes) > 1_000_000 for image in stored.values()) == 2
    for image in stored.values():
        assert client.get(image.url).content == image.bytes
        assert f"sha256:{hashlib.sha256(image.bytes).hexdigest()}" == image.digest


def test_a_range_over_two_records_that_no_broker_keeps_is_served(stored, client):
    *_, image = stored.values()
    part = client.get(image.url, headers={"range": "bytes=999990-1000009"})
    assert part.status_code == 206
    assert part.content == image.bytes[999_990:1_000_010]


def test_a_catalog_is_rebuilt_once_the_storage_of_its_events_answers(
    stored, broker, settings, prefix, tmp_path
):
    with GatewayProcess(tmp_path, **settings) as another:
        with broker.stalled(f"{prefix}image-events"):
            another.spawn("--port", "0", wait=False)
            until(lambda: another.url and broker.stalled_reads() > 1)
            assert httpx.get(f"{another.url}/health/ready").status_code == 503
        another.await_ready()
        with another.client() as client:
            listed = [image["id"] for image in client.get("/images").json()["images"]]
        assert [image_id for image_id in listed if image_id in stored] == [*stored][::-1]


async def test_the_reader_reads_what_no_broker_keeps_from_a_time_on(stored, broker, prefix):
    third = [*stored.values()][2]
    options = {"bootstrap_servers": broker.bootstrap_servers, "topic_prefix": prefix}
    options |= {"start": datetime.fromisoformat(third.created_at), "follow": False}
    async with ImageReader(group_id=f"{prefix}readers", **options) as reader:
        found = {image.id: await image.bytes() async for image in reader}
    expected = {image_id: image.bytes for image_id, image in [*stored.items()][2:]}
    assert {image_id: found[image_id] for image_id in expected} == expected
    assert next(iter(stored)) not in found


def test_storage_that_answers_late_is_waited_for(stored, broker, client, prefix):
    image_id, image = next(iter(stored.items()))
    with ThreadPoolExecutor() as pool:
        with broker.stalled(f"{prefix}images", partition_of(image_id)):
            answer = pool.submit(client.get, image.url)
            # The second read comes after an answer without records.
            until(lambda: broker.stalled_reads() > 1 or answer.done())
        assert answer.result().content == image.bytes


def test_storage_that_does_not_answer_is_503_and_never_404(stored, broker, client, prefix):
    image_id, image = next(iter(stored.items()))
    with broker.stalled(f"{prefix}images", partition_of(image_id)):
        answer = client.get(image.url)
        assert broker.stalled_reads() > 1
    assert (answer.status_code, answer.json()["code"]) == (503, "log-unavailable")
    assert client.get(image.url).content == image.bytes


def test_a_deleted_image_is_410_and_uploads_go_on(stored, client):
    image = client.post("/images", content=images.jpeg(images.photo((90, 60)))).json()
    assert client.delete(image["url"]).status_code == 204
    assert client.get(image["url"]).status_code == 410


async def test_what_leaves_the_remote_storage_is_410(stored, broker, client, prefix):
    """The last test: it removes the images of the others."""
    image_id, image = next(iter(stored.items()))
    topic, partition = f"{prefix}images", partition_of(image_id)
    await plain.delete_before(broker, topic, partition, -1)
    await asyncio.to_thread(until, lambda: client.get(image.url).status_code == 410)
    await asyncio.to_thread(
        until,
        lambda: image_id not in {each["id"] for each in client.get("/images").json()["images"]},
    )
    assert client.post("/images", content=CHUNKED).status_code == 201
