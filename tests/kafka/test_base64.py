"""Images in Base64: written by one gateway beside one that writes them as they are."""

import base64
import hashlib
import itertools
import json
from collections import Counter

import pytest

from app.cli.main import main
from app.telemetry import logs
from tests.support import images, plain
from tests.support.gateway_process import until
from tests.support.in_process import in_process
from tests.support.links import make

pytestmark = pytest.mark.kafka

BASE64 = {"IMAGEGATE_KAFKA__VALUE_ENCODING": "base64"}
PHOTO = images.jpeg(images.photo((320, 240)))
PACKED = images.jpeg(images.photo((640, 480), noise=8))
# Noise does not compress: 2.7 MB, in three records as they are, and in four in Base64.
LARGE = images.png(images.photo((1200, 750), noise=255), compress_level=1, private=False)
UPLOADS = [(PHOTO, "balanced"), (LARGE, "original"), (PACKED, "archive")]


@pytest.fixture
def clients(new_gateway, topics, tmp_path):
    """Clients of a gateway that writes images as they are, and of one that writes Base64."""
    raw = new_gateway(data_dir=tmp_path / "raw", **topics)
    base64 = new_gateway(data_dir=tmp_path / "base64", **topics, **BASE64)
    with raw.client() as one, base64.client() as two:
        yield one, two


@pytest.fixture
def pairs(clients):
    """Pairs of one image, as it is and in Base64, that both gateways list."""
    stored = []
    for data, profile in UPLOADS:
        answers = [
            each.post("/images", content=data, params={"profile": profile}) for each in clients
        ]
        assert {each.status_code for each in answers} == {201}
        stored.append([each.json() for each in answers])
    for client in clients:
        until(lambda client=client: len(client.get("/images").json()["images"]) == len(UPLOADS) * 2)
    return stored


async def test_each_record_says_its_form_and_any_reader_of_text_can_undo_it(pairs, kafka, prefix):
    records = await plain.read(kafka, f"{prefix}images", partitions=3)
    events = (await plain.read(kafka, f"{prefix}image-events")).values()
    assert {json.loads(event.value)["imagegateversion"] for event in events} == {1}
    sizes, lists = Counter(), set()
    for record in records.values():
        headers, value = dict(record.headers), record.value
        assert len(value) <= 1_000_000
        encoded = headers.get("content-transfer-encoding")
        assert headers["imagegate-version"] == (b"3" if encoded else b"1")
        if encoded:
            assert encoded == b"base64"
            value = base64.b64decode(value, validate=True)
        sizes[record.key.partition(b"/")[0], encoded] += len(value)
        lists.add((encoded, headers.get("imagegate-chunks", b"").partition(b",")[0]))
    stored = [each["receipt"]["stored_bytes"] for each in itertools.chain(*pairs)]
    assert sorted(sizes.values()) == sorted(stored)
    assert Counter(encoded for _, encoded in sizes) == {b"base64": 3, None: 3}
    assert lists == {(None, b""), (None, b"1000000"), (b"base64", b""), (b"base64", b"750000")}


async def test_an_image_that_came_by_a_link_is_stored_once_in_base64_too(kafka, prefix, tmp_path):
    log = {"bootstrap_servers": kafka.bootstrap_servers, "topic_prefix": prefix, "partitions": 3}
    kafka_settings = log | {"value_encoding": "base64"}
    async with (
        in_process(tmp_path / "base64", kafka=kafka_settings) as client,
        in_process(tmp_path / "raw", kafka=log) as other,
    ):
        url = (await make(client, kind="upload"))["url"]
        stored = await client.post(url, content=PHOTO)
        assert stored.status_code == 201, stored.text
        assert (await client.post(url, content=PHOTO)).status_code == 409
        served = await other.get(stored.json()["url"])
        assert served.status_code == 200
        assert f"sha256:{hashlib.sha256(served.content).hexdigest()}" == stored.json()["digest"]


@pytest.mark.apache_kafka
async def test_a_lower_limit_of_the_topic_counts_the_letters(new_gateway, topics, prefix, kafka):
    limit = 200_000
    await plain.create(kafka, f"{prefix}images", 3, max_message_bytes=limit, **plain.FITTING)
    gateway = new_gateway(**topics, **BASE64)
    with gateway.client() as client:
        image = client.post("/images", content=LARGE, params={"profile": "original"}).json()
        served = client.get(image["url"]).content
    assert f"sha256:{hashlib.sha256(served).hexdigest()}" == image["digest"]
    records = (await plain.read(kafka, f"{prefix}images", partitions=3)).values()
    assert max(len(record.value) for record in records) == (limit - 48_000) // 4 * 4
    assert sum(len(base64.b64decode(record.value)) for record in records) == len(served)


def test_a_deployment_that_writes_base64_passes_the_doctor(
    clients, topics, tmp_path, monkeypatch, capsys
):
    assert clients[1].post("/images", content=PHOTO).status_code == 201
    for name, value in (topics | BASE64).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("IMAGEGATE_DATA_DIR", str(tmp_path / "doctor"))
    monkeypatch.setattr(logs, "configure", lambda _: None)
    assert main(["doctor"]) == 0, capsys.readouterr().out
