"""Images in every form of one topic, out by every way: as they are, in Base64 and packed.

Two gateways sign what they write. One writes values as they are, the other in Base64.
"""

import asyncio
import base64
import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from PIL import Image

from imagegate import ImageReader
from tests.support import images, plain
from tests.support.every_case import every_case
from tests.support.gateway_process import GatewayProcess, on_kafka, until
from tests.support.mjpeg import first_picture
from tests.support.signing import K1, STRANGER, keys

pytestmark = pytest.mark.apache_kafka

KEYS = keys(k1=K1)
# The topic's limit for a record, and how many bytes of an image then go into one.
RECORD_BYTES = 200_000
CHUNK_BYTES = {"raw": 167_232, "base64": 114_000}
# Noise does not compress: each of the large ones is more than two records, packed too.
UPLOADS = {
    "plain": (images.jpeg(images.photo((320, 240)), private=False), "original"),
    "chunked": (
        images.png(images.photo((480, 400), noise=60), compress_level=1, private=False),
        "original",
    ),
    "packed": (images.jpeg(images.photo((640, 480), noise=8), private=False), "archive"),
    "packed and chunked": (
        images.jpeg(images.photo((960, 640), noise=120), private=False),
        "archive",
    ),
}
FORMS = [*itertools.product(UPLOADS, CHUNK_BYTES)]


@dataclass
class Shelf:
    """The images in the topic, and two clients, each of a gateway of its own.

    Attributes:
        answers: The JSON of each image, by its form.
        frames: What the live stream of both gateways showed when it was the newest.
    """

    settings: dict
    clients: dict
    answers: dict
    frames: dict

    def upload(self, form):
        return UPLOADS[form[0]][0]

    def reader(self, group, **more):
        """A reader of a group that nobody else is in."""
        options = {
            "bootstrap_servers": self.settings["IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS"],
            "topic_prefix": self.settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"],
            "signing_keys": KEYS,
        }
        options |= {"group_id": options["topic_prefix"] + group} | more
        return ImageReader(**options, follow=False)


@pytest.fixture(scope="module")
def shelf(kafka, tmp_path_factory):
    topics, folder = on_kafka(kafka), tmp_path_factory.mktemp("mixed")
    topic = topics["IMAGEGATE_KAFKA__TOPIC_PREFIX"] + "images"
    limit = {"max_message_bytes": RECORD_BYTES}
    asyncio.run(plain.create(kafka, topic, 3, **limit, **plain.FITTING))
    settings = topics | {"IMAGEGATE_KAFKA__SIGNING_KEYS": KEYS, "IMAGEGATE_IMAGING__WORKERS": 1}
    with ExitStack() as stack:
        clients = {}
        for encoding in CHUNK_BYTES:
            form = {"IMAGEGATE_KAFKA__VALUE_ENCODING": encoding}
            gateway = stack.enter_context(GatewayProcess(folder / encoding, **settings | form))
            clients[encoding] = stack.enter_context(gateway.start().client())
        made = Shelf(settings, clients, {}, {})
        for name, encoding in FORMS:
            store(made, name, encoding)
        yield made


def store(shelf, name, encoding):
    data, profile = UPLOADS[name]
    # With its metadata an image is stored bit for bit as it came.
    options = {"profile": profile, "metadata": "keep"}
    answer = shelf.clients[encoding].post("/images", content=data, params=options)
    assert answer.status_code == 201, answer.text
    shelf.answers[name, encoding] = image = answer.json()
    for client in shelf.clients.values():
        until(lambda client=client: client.get("/images").json()["images"][:1] == [image])
    frames = [first_picture(client) for client in shelf.clients.values()]
    shelf.frames[name, encoding] = frames


async def test_the_topic_has_every_form(shelf, kafka):
    prefix = shelf.settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    records = (await plain.read(kafka, f"{prefix}images", partitions=3)).values()
    heads, values = {}, Counter()
    for record in records:
        headers = dict(record.headers)
        cookie, encoding = record.key.partition(b"/")[0], "raw"
        value = record.value
        if headers.get("content-transfer-encoding"):
            value, encoding = base64.b64decode(value, validate=True), "base64"
        assert len(value) <= CHUNK_BYTES[encoding]
        values[cookie] += 1
        if "imagegate-chunk" not in headers:
            heads[cookie] = headers
    assert len(heads) == len(FORMS)
    assert all(headers["imagegate-signature"].startswith(b"k1:") for headers in heads.values())
    found = Counter(
        (
            headers.get("content-encoding") == b"lepton",
            values[cookie] > 2,
            headers.get("content-transfer-encoding", b"raw").decode(),
        )
        for cookie, headers in heads.items()
    )
    assert found == Counter(itertools.product([True, False], [True, False], CHUNK_BYTES))


def test_each_gateway_serves_every_form_whole_and_says_the_same_of_it(shelf):
    with every_case() as case:
        for form, client in itertools.product(FORMS, shelf.clients.values()):
            with case(f"{form} from {client.base_url}"):
                image = shelf.answers[form]
                served = client.get(image["url"])
                assert (served.status_code, served.content) == (200, shelf.upload(form))
                digest = hashlib.sha256(served.content).digest()
                assert image["digest"] == f"sha256:{digest.hex()}"
                said = base64.b64encode(digest).decode()
                assert served.headers["repr-digest"] == f"sha-256=:{said}:"
                length = str(len(served.content))
                assert client.head(image["url"]).headers["content-length"] == length
                assert client.get(f"{image['url']}/metadata").json() == image


def test_each_gateway_serves_ranges_of_every_form(shelf):
    with every_case() as case:
        for (name, encoding), client in itertools.product(FORMS, shelf.clients.values()):
            data, size = UPLOADS[name][0], CHUNK_BYTES[encoding]
            wanted = {
                "bytes=0-0": data[:1],
                "bytes=5000-5009": data[5_000:5_010],
                "bytes=-7": data[-7:],
                f"bytes={len(data) - 3}-": data[-3:],
            }
            if len(data) > 2 * size:
                wanted |= {
                    f"bytes={size - 2}-{size + 2}": data[size - 2 : size + 3],
                    f"bytes={size}-{size}": data[size : size + 1],
                    # From the first chunk into the third.
                    f"bytes={size - 1}-{2 * size}": data[size - 1 : 2 * size + 1],
                }
            for range_, expected in wanted.items():
                with case(f"{range_} of {name} in {encoding} from {client.base_url}"):
                    url = shelf.answers[name, encoding]["url"]
                    part = client.get(url, headers={"range": range_})
                    assert (part.status_code, part.content) == (206, expected)


def test_the_live_stream_of_each_gateway_shows_every_form(shelf):
    with every_case() as case:
        for form in FORMS:
            with case(str(form)):
                data, (first, second) = shelf.upload(form), shelf.frames[form]
                if shelf.answers[form]["content_type"] == "image/jpeg":
                    assert first == second == data
                for frame in (first, second):
                    shown, uploaded = (Image.open(io.BytesIO(each)) for each in (frame, data))
                    # Noise loses much as a JPEG. Two orientations are at 40 and more.
                    assert images.distance(shown, uploaded) < 20


@pytest.mark.parametrize("signing_keys", [KEYS, None], ids=["with the key", "without keys"])
async def test_a_reader_returns_every_form_as_it_was_uploaded(shelf, signing_keys):
    whole, joined = {}, {}
    async with shelf.reader(f"{bool(signing_keys)}", signing_keys=signing_keys) as found:
        async for image in found:
            whole[image.id] = await image.bytes()
            joined[image.id] = b"".join([piece async for piece in image.chunks()])
    expected = {shelf.answers[form]["id"]: shelf.upload(form) for form in FORMS}
    assert whole == joined == expected
    assert [*whole] == [*expected]


async def test_a_reader_with_another_key_returns_none_of_them(shelf):
    async with shelf.reader("stranger", signing_keys=keys(k1=STRANGER)) as found:
        assert [image.id async for image in found] == []


def test_an_export_writes_every_form_as_it_was_uploaded(shelf, tmp_path):
    environment = {name: str(value) for name, value in shelf.settings.items()}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
    command = [sys.executable, "-m", "app", "export", "--out", tmp_path]
    ended = subprocess.run(
        command, env=clean | environment, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    with every_case() as case:
        for form in FORMS:
            with case(str(form)):
                image = shelf.answers[form]
                [file] = tmp_path.glob(f"{image['id']}.*g")
                assert file.read_bytes() == shelf.upload(form)
                facts = json.loads(file.with_suffix(".json").read_text("utf-8"))
                assert f"sha256:{facts['digest']}" == image["digest"]
                for name in ("id", "content_type", "content_length", "width", "height", "profile"):
                    assert facts[name] == image[name]
    assert len([*tmp_path.glob("*.json")]) == len(FORMS)


def test_what_is_deleted_at_one_gateway_is_gone_at_the_other_in_every_form(shelf):
    one, other = shelf.clients.values()
    for form in FORMS:
        url = shelf.answers[form]["url"]
        assert one.delete(url).status_code == 204
        until(lambda url=url: other.get(url).status_code == 410)
