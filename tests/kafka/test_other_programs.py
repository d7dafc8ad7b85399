"""Programs that know nothing of imagegate read images as docs/kafka.md says: kcat, Kafka's console
consumer, and the page's programs in Go and Java.

Where a tool is missing, its tests are skipped; with TEST_REQUIRE_PROGRAMS=1 they fail instead.
"""

import base64
import functools
import itertools
import os
import re

import pytest

from dev.maven import JarsUnavailableError
from tests.support import images, programs
from tests.support.checker import CHUNKED
from tests.support.gateway_process import GatewayProcess, on_kafka, until

pytestmark = pytest.mark.apache_kafka

SMALL = images.jpeg(images.photo((320, 240)))
PACKED = images.jpeg(images.photo((640, 480), noise=8))
# The console consumer starts a Java virtual machine for each record; the rest of its script is that
# for kcat.
READ = [
    *itertools.product(["kcat", "go", "java"], ["small raw", "chunked raw", "chunked base64"]),
    *itertools.product(["kcat", "go", "java"], ["ending raw"]),
    ("console consumer", "chunked base64"),
]


@pytest.fixture(scope="module")
def settings(kafka):
    return on_kafka(kafka)


@pytest.fixture(scope="module")
def stored(settings, tmp_path_factory):
    """Images of one topic, as they are and in Base64: ids, and bytes as served, by name."""
    found = {}
    folder = tmp_path_factory.mktemp("gateway")
    for encoding in ("raw", "base64"):
        chosen = settings | {"IMAGEGATE_KAFKA__VALUE_ENCODING": encoding}
        with GatewayProcess(folder, IMAGEGATE_IMAGING__WORKERS=1, **chosen) as gateway:
            with gateway.start().client() as client:
                for name, data in (("small", SMALL), ("chunked", CHUNKED), ("packed", PACKED)):
                    profile = "archive" if name == "packed" else "balanced"
                    image = client.post(f"/images?profile={profile}", content=data).json()
                    served = client.get(image["url"]).content
                    found[f"{name} {encoding}"] = image["id"], served
                for name, seconds in (("ending", 3_600), ("ended", 1)):
                    image = client.post(f"/images?expires_in={seconds}", content=SMALL).json()
                    found[f"{name} {encoding}"] = image["id"], client.get(image["url"]).content
                until(lambda: client.get(image["url"]).status_code == 410)  # noqa: B023 - now
            gateway.terminate()
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Build a program by its name, once."""

    @functools.cache
    def build(name):
        try:
            return programs.build(name, tmp_path_factory.mktemp("program"))
        except (programs.UnavailableError, JarsUnavailableError) as error:
            reason = f"needs the program for {name} of docs/kafka.md: {error}"
            if os.environ.get("TEST_REQUIRE_PROGRAMS") == "1":
                pytest.fail(f"TEST_REQUIRE_PROGRAMS=1: {reason}")
            pytest.skip(reason)

    return build


@pytest.fixture
def read(program, kafka, settings, tmp_path):
    """Have a program read an image by its id; return the bytes, or None where it refuses."""

    def read(name, image_id):
        file = tmp_path / "picture"
        topic = f"{settings['IMAGEGATE_KAFKA__TOPIC_PREFIX']}images"
        done = program(name).run(kafka.bootstrap_servers, topic, image_id, file)
        assert (done.returncode == 0) == file.exists(), done.stderr.decode()
        if not file.exists():
            assert done.stderr
            return None
        return file.read_bytes()

    return read


@pytest.mark.parametrize(("name", "image"), READ)
def test_a_program_reads_the_image_byte_for_byte(stored, read, name, image):
    image_id, served = stored[image]
    assert (len(served) > 1_000_000) == image.startswith("chunked")
    assert read(name, image_id) == served


@pytest.mark.parametrize("name", ["kcat", "go", "java"])
def test_a_program_refuses_an_id_with_another_cookie_and_a_packed_image(stored, read, name):
    image_id, _ = stored["small raw"]
    address = base64.b32decode(image_id.upper())[:8]
    assert read(name, base64.b32encode(address + bytes(12)).decode().lower()) is None
    assert read(name, stored["packed raw"][0]) is None


@pytest.mark.parametrize("name", ["go", "java"])
def test_a_program_refuses_an_image_that_has_expired(stored, read, name):
    assert read(name, stored["ended raw"][0]) is None


def test_the_line_for_the_console_consumer_writes_the_picture(stored, settings, kafka, tmp_path):
    image_id, served = stored["small raw"]
    raw = base64.b32decode(image_id.upper())
    [line] = re.findall(r"(?ms)^kafka-console-consumer\.sh --b.*?> picture\.jpg$", programs.PAGE)
    for name, value in (
        ("127.0.0.1:9092", kafka.bootstrap_servers),
        ("--topic images", f"--topic {settings['IMAGEGATE_KAFKA__TOPIC_PREFIX']}images"),
        ("PARTITION", int.from_bytes(raw[:2], "big")),
        ("OFFSET", int.from_bytes(raw[2:8], "big")),
    ):
        assert name in line
        line = line.replace(name, str(value))
    path = programs.console_consumer(tmp_path) + os.environ["PATH"]
    done = programs.run(["bash", "-c", line], cwd=tmp_path, PATH=path)
    assert (tmp_path / "picture.jpg").read_bytes() == served, done.stderr.decode()


def test_the_page_names_the_version_of_franz_go_that_is_tried():
    [version] = re.findall(r"go get github\.com/twmb/franz-go/pkg/kgo@(\S+)", programs.PAGE)
    assert f"github.com/twmb/franz-go {version}\n" in (programs.GO_MODULE / "go.mod").read_text()
