"""Encrypted images on one Kafka: gateways, readers and exports with keys, and those without."""

import asyncio
import hashlib
import json
import sys

import httpx
import pytest

from imagegate import ImageReader, KeyUnavailableError
from tests.support import plain
from tests.support.gateway_process import until
from tests.support.mjpeg import first_picture
from tests.support.past import check_stopped, program_of
from tests.support.sealing import K1, K2, LARGE, NAME, PACKED, SMALL, ring

pytestmark = pytest.mark.kafka

# The last commit that knows no encryption.
BEFORE = "13617051ba72050512384e0ebf11215ef76a0bd9"
SECONDS = 60


def keys(**named):
    return {"IMAGEGATE_SEALING__KEYS": ring(**named)}


def upload(client, data, profile="original"):
    answer = client.post(
        "/images", files={"file": (NAME, data, "image/png")}, params={"profile": profile}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def is_whole(image, data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}" == image["digest"]


@pytest.fixture
def stored(new_gateway, topics, tmp_path):
    """Images of gateways with one key and with the next, and the last gateway."""
    clear = new_gateway(data_dir=tmp_path / "clear", **topics)
    first = new_gateway(data_dir=tmp_path / "first", **topics, **keys(k1=K1))
    second = new_gateway(data_dir=tmp_path / "second", **topics, **keys(k2=K2, k1=K1))
    images = []
    with clear.client() as one, first.client() as two, second.client() as three:
        images.append(upload(one, SMALL))
        images.append(upload(two, LARGE))
        images.append(upload(two, PACKED, "archive"))
        images.append(upload(three, SMALL))
    return images, second


async def test_readers_exports_and_watchers_of_the_live_stream_have_keys_too(
    stored, kafka, prefix, tmp_path
):
    images, gateway = stored
    with gateway.client() as client:
        newest = first_picture(client)
        assert is_whole(images[-1], newest)
        until(lambda: len(client.get("/images").json()["images"]) == len(images))
        for image in images:
            assert is_whole(image, client.get(image["url"]).content)
    options = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": prefix,
        "follow": False,
        "session_timeout_seconds": 6.0,
    }
    both = ring(k2=K2, k1=K1)
    group = f"{prefix}readers"
    async with ImageReader(group_id=group, sealing_keys=both, **options) as reader:
        read = {image.id: (image.filename, await image.bytes()) async for image in reader}
    assert [*read] == [each["id"] for each in images]
    for image in images:
        filename, data = read[image["id"]]
        assert filename == NAME
        assert is_whole(image, data)
    # Without the key, the bytes are an error, and the image is not passed over.
    async with ImageReader(group_id=f"{group}-2", sealing_keys=ring(k2=K2), **options) as reader:
        assert (await anext(reader)).id == images[0]["id"]
        large = await anext(reader)
        assert (large.id, large.filename) == (images[1]["id"], None)
        with pytest.raises(KeyUnavailableError):
            await large.bytes()

    async def export(**environment):
        log = {"IMAGEGATE_KAFKA__TOPIC_PREFIX": prefix}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "export", "--out", tmp_path / "out"),
            *("--kafka", kafka.bootstrap_servers),
            env=log | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(SECONDS):
            _, errors = await process.communicate()
        return process.returncode, errors.decode()

    watched = [sys.executable, "-m", "app", "watch", "--since", "0", "--no-follow"]
    log = {"IMAGEGATE_KAFKA__TOPIC_PREFIX": prefix, "IMAGEGATE_SEALING__KEYS": ring(k1=K1)}
    process = await asyncio.create_subprocess_exec(
        *watched, "--kafka", kafka.bootstrap_servers, env=log, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert output.decode().count(NAME) == 3

    status, errors = await export()
    assert (status, "no sealing keys" in errors) == (1, True)
    assert len([*(tmp_path / "out").glob("*.json")]) == 1
    file = tmp_path / "keys"
    file.write_text(both)
    status, errors = await export(IMAGEGATE_SEALING__KEYS_FILE=str(file))
    assert status == 0, errors
    for image in images:
        facts = json.loads((tmp_path / "out" / f"{image['id']}.json").read_text())
        assert facts["filename"] == NAME
        files = {each.suffix: each for each in (tmp_path / "out").glob(f"{image['id']}.*")}
        del files[".json"]
        [picture] = files.values()
        assert is_whole(image, picture.read_bytes())


@pytest.fixture
def clients(new_gateway, topics, tmp_path):
    """Clients of a gateway of then, and of one of today that encrypts."""
    program = program_of(BEFORE, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **topics)
    new = new_gateway(data_dir=tmp_path / "new", **topics, **keys(k1=K1))
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:
        yield then, today


async def test_an_older_gateway_serves_no_encrypted_image_and_a_newer_one_everything(
    clients, kafka, prefix
):
    then, today = clients
    clear = upload(then, SMALL)
    until(lambda: today.get(clear["url"]).status_code == 200)
    until(lambda: then.get(f"{clear['url']}/metadata").status_code == 200)
    sealed = [upload(today, SMALL), upload(today, LARGE)]
    check_stopped(then, today, clear, sealed)
    events = (await plain.read(kafka, f"{prefix}image-events")).values()
    assert [json.loads(each.value)["imagegateversion"] for each in events] == [1, 4, 4]
