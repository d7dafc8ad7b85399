"""The reader and the kcat line in docs/kafka.md, run as printed there."""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import images
from tests.support.sealing import K1, K2, NAME, ring

PAGE = (Path(__file__).parents[2] / "docs/kafka.md").read_text("utf-8")
SMALL = images.jpeg(images.photo((320, 240)))
# Noise does not compress: 2.7 MB in three records.
LARGE = images.png(images.photo((1200, 750), noise=255), compress_level=1, private=False)


@pytest.fixture
def stored(new_gateway, topics):
    """Store images; return their ids and their bytes as served."""
    gateway = new_gateway(**topics)
    with gateway.client() as client:

        def store(data, profile="balanced"):
            image = client.post(f"/images?profile={profile}", content=data).json()
            return image["id"], client.get(image["url"]).content

        yield store


@pytest.fixture
def reader(tmp_path, kafka, prefix):
    """Run the page's reader with an id."""
    [program] = re.findall(r"(?ms)^```python\n(import asyncio, base64, sys.*?)^```", PAGE)
    path = tmp_path / "read_image.py"
    path.write_text(program)

    def run(image_id):
        command = [sys.executable, path, kafka.bootstrap_servers, f"{prefix}images", image_id]
        return subprocess.run(command, capture_output=True, timeout=60, check=False)

    return run


@pytest.mark.kafka
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one record", "chunks"])
def test_the_reader_writes_the_picture_byte_for_byte(stored, reader, data):
    image_id, served = stored(data)
    done = reader(image_id)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == served
    assert (len(served) > 2_000_000) == (data is LARGE)


@pytest.mark.kafka
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one record", "chunks"])
def test_the_reader_undoes_base64(new_gateway, topics, reader, data):
    gateway = new_gateway(IMAGEGATE_KAFKA__VALUE_ENCODING="base64", **topics)
    with gateway.client() as client:
        image = client.post("/images", content=data).json()
        served = client.get(image["url"]).content
    done = reader(image["id"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == served


@pytest.mark.kafka
def test_the_reader_unpacks_what_is_packed(stored, reader):
    image_id, served = stored(images.jpeg(images.photo((640, 480), noise=8)), "archive")
    done = reader(image_id)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == served
    assert done.stdout.startswith(b"\xff\xd8")


@pytest.mark.kafka
def test_the_reader_refuses_an_id_with_another_cookie(stored, reader):
    image_id, _ = stored(SMALL)
    address = base64.b32decode(image_id.upper())[:8]
    done = reader(base64.b32encode(address + bytes(12)).decode().lower())
    assert done.returncode == 1
    assert done.stdout == b""


@pytest.mark.apache_kafka
@pytest.mark.skipif(not shutil.which("kcat"), reason="needs kcat")
def test_the_kcat_line_writes_the_picture(stored, kafka, prefix, tmp_path):
    image_id, served = stored(SMALL)
    raw = base64.b32decode(image_id.upper())
    [line] = re.findall(r"(?m)^kcat .*> picture\.jpg$", PAGE)
    for name, value in (
        ("127.0.0.1:9092", kafka.bootstrap_servers),
        ("-t images", f"-t {prefix}images"),
        ("PARTITION", int.from_bytes(raw[:2], "big")),
        ("OFFSET", int.from_bytes(raw[2:8], "big")),
    ):
        assert name in line
        line = line.replace(name, str(value))
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "picture.jpg").read_bytes() == served


@pytest.mark.kafka
@pytest.mark.parametrize("encoding", ["raw", "base64"])
def test_the_reader_of_encrypted_images_opens_them_with_the_key_and_with_no_other(
    new_gateway, topics, prefix, kafka, tmp_path, encoding
):
    [program] = re.findall(r"(?ms)^```python\n(import asyncio, base64, json.*?)^```", PAGE)
    path = tmp_path / "read_sealed.py"
    path.write_text(program)
    settings = {
        "IMAGEGATE_SEALING__KEYS": ring(k1=K1),
        "IMAGEGATE_KAFKA__SIGNING_KEYS": ring(s1=K2),
        "IMAGEGATE_KAFKA__VALUE_ENCODING": encoding,
    }
    gateway = new_gateway(**topics, **settings)
    with gateway.client() as client:
        stored = [
            client.post("/images?profile=original", files={"file": (NAME, data)}).json()
            for data in (SMALL, LARGE)
        ]
        served = [client.get(each["url"]).content for each in stored]

    def run(image, key):
        place = [kafka.bootstrap_servers, f"{prefix}images"]
        command = [sys.executable, path, *place, image["id"], key]
        return subprocess.run(command, capture_output=True, timeout=60, check=False)

    for image, data in zip(stored, served, strict=True):
        done = run(image, ring(k1=K1))
        assert (done.returncode, done.stderr.decode().strip()) == (0, NAME)
        assert done.stdout == data
    for wrong in (ring(k2=K1), ring(k1=K2)):
        done = run(stored[0], wrong)
        assert (done.returncode, done.stdout) == (1, b"")
