"""Images that are erased by their keys, on Kafka: readers, exports, imports, and older gateways."""

import asyncio
import hashlib
import json

import httpx
import pytest

from imagegate import ImageReader, KeyUnavailableError
from tests.support import commands, plain
from tests.support.gateway_process import on_kafka, until
from tests.support.mjpeg import first_picture
from tests.support.past import check_stopped, program_of
from tests.support.sealing import K1, K2, LARGE, NAME, PACKED, SMALL, ring

pytestmark = pytest.mark.kafka

# The last commit that knows no keys in records of their own.
BEFORE = "6257246b4ecf3acc1603a69cd84efebfed7e55b3"
SHRED = {"IMAGEGATE_KAFKA__ERASURE": "shred"}
BOTH = ring(k2=K2, k1=K1)


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


def check_exported(folder, images):
    for image in images:
        files = {each.suffix: each for each in folder.glob(f"{image['id']}.*")}
        assert json.loads(files.pop(".json").read_text())["filename"] == NAME
        [picture] = files.values()
        assert is_whole(image, picture.read_bytes())


@pytest.fixture
def stored(new_gateway, topics, tmp_path):
    """Images of gateways with one key and with the next, wrapped again, and the last gateway."""
    first = new_gateway(data_dir=tmp_path / "first", **topics, **SHRED, **keys(k1=K1))
    base64 = {"IMAGEGATE_KAFKA__VALUE_ENCODING": "base64"}
    second = new_gateway(
        data_dir=tmp_path / "second", **topics, **SHRED, **base64, **keys(k2=K2, k1=K1)
    )
    with first.client() as one, second.client() as two:
        images = [upload(one, LARGE), upload(one, PACKED, "archive"), upload(two, LARGE)]
        deleted = upload(one, SMALL)
        assert one.delete(deleted["url"]).status_code == 204
        commands.run("keys", "rewrap", **topics, IMAGEGATE_SEALING__KEYS=BOTH)
        images.append(upload(two, SMALL))
    return images, second


async def test_readers_exports_imports_and_live_pictures_get_them_with_the_newest_key(
    stored, kafka, prefix, topics, tmp_path, new_gateway
):
    images, gateway = stored
    with gateway.client() as client:
        assert is_whole(images[-1], first_picture(client))
        until(lambda: len(client.get("/images").json()["images"]) == len(images))
        for image in images:
            whole = client.get(image["url"]).content
            assert is_whole(image, whole)
            part = client.get(image["url"], headers={"range": "bytes=-9"})
            assert (part.status_code, part.content) == (206, whole[-9:])
    options = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": prefix,
        "follow": False,
        "session_timeout_seconds": 6.0,
    }
    group = f"{prefix}readers"
    # The older key is needed by nobody.
    async with ImageReader(group_id=group, sealing_keys=ring(k2=K2), **options) as reader:
        read = {image.id: (image.filename, await image.bytes()) async for image in reader}
    assert [*read] == [each["id"] for each in images]
    for image in images:
        filename, data = read[image["id"]]
        assert filename == NAME
        assert is_whole(image, data)
    async with ImageReader(group_id=f"{group}-2", sealing_keys=ring(k1=K1), **options) as reader:
        first = await anext(reader)
        assert first.id == images[0]["id"]
        with pytest.raises(KeyUnavailableError):
            await first.bytes()

    def run(*arguments, **more):
        return asyncio.to_thread(commands.run, *arguments, **topics, **more)

    newest = {"IMAGEGATE_SEALING__KEYS": ring(k2=K2)}
    watched = await run("watch", "--since", "0", "--no-follow", **newest)
    assert watched.count("image.rewrapped") == 2
    await run("export", "--out", tmp_path / "without", status=1)
    assert not [*(tmp_path / "without").glob("*.json")]
    await run("export", "--out", tmp_path / "out", **newest)
    check_exported(tmp_path / "out", images)

    # Into an embedded log, and from there into another Kafka.
    source = tmp_path / "source.env"
    source.write_text(f"IMAGEGATE_KAFKA__TOPIC_PREFIX={prefix}\n")
    embedded = {"IMAGEGATE_DATA_DIR": tmp_path / "embedded", **newest}
    await asyncio.to_thread(
        *(commands.run, "import", kafka.bootstrap_servers, "--source-env", source), **embedded
    )
    target = on_kafka(kafka) | SHRED | newest
    said = await asyncio.to_thread(commands.run, "import", tmp_path / "embedded", **target)
    assert f"{len(images)} images" in said
    moved = new_gateway(data_dir=tmp_path / "moved", **target)
    with moved.client() as client:
        for image in images:
            assert is_whole(image, client.get(image["url"]).content)
        assert client.delete(images[0]["url"]).status_code == 204
    records = await plain.read(kafka, f"{target['IMAGEGATE_KAFKA__TOPIC_PREFIX']}image-keys")
    assert [bool(each.value) for _, each in sorted(records.items())] == [True] * 4 + [False]


@pytest.fixture
def clients(new_gateway, topics, tmp_path):
    """Clients of a gateway of then, and of one of today that erases by keys."""
    program = program_of(BEFORE, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **topics, **keys(k1=K1))
    new = new_gateway(data_dir=tmp_path / "new", **topics, **SHRED, **keys(k1=K1))
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:
        yield then, today


def test_an_older_gateway_refuses_them_and_goes_on_with_what_it_knew(clients):
    then, today = clients
    sealed = upload(then, SMALL)
    until(lambda: today.get(sealed["url"]).status_code == 200)
    until(lambda: then.get(f"{sealed['url']}/metadata").status_code == 200)
    shredded = [upload(today, SMALL), upload(today, LARGE)]
    check_stopped(then, today, sealed, shredded)


def test_without_sealing_keys_a_gateway_does_not_start(topics, tmp_path):
    output = commands.run("serve", "--data-dir", tmp_path, status=2, **topics, **SHRED)
    assert "IMAGEGATE_SEALING__KEYS" in output
