"""openapi/asyncapi.yaml describes what gateways write and stream, no more and no less."""

import re
from contextlib import suppress
from dataclasses import replace

import pytest
import pytest_asyncio

from app import __version__
from app.changes.sign_from import begin_signing
from app.errors import RecordGoneError
from app.events.event import ImageDeleted, encode
from app.events.move import Move
from app.events.rewrapped import ImageRewrapped
from app.feed import dead_letters
from app.imaging.info import Visibility
from app.log import EVENTS, IMAGES, KEYS, MAX_OFFSETS, REJECTS, Position, Record
from app.log.kafka.rules import new_config
from app.log.kafka.settings import KafkaSettings
from app.records.address import Address
from app.records.stated_key import ImageKey
from app.sealing.wrapped_key import WrappedKey
from tests.support import images, plain
from tests.support.asyncapi import DOCUMENT, FILE, Comparison, load
from tests.support.credentials import bearer, make_key
from tests.support.described import DOCUMENT as OPENAPI
from tests.support.described import resolve
from tests.support.facts import claimed, image_id, moved, until
from tests.support.in_process import in_process
from tests.support.kafka_logs import new_prefix
from tests.support.links import make
from tests.support.sealing import sealing
from tests.support.signing import K1, OURS, keys
from tests.support.streamed import beginning

asynchronous = pytest.mark.asyncio(loop_scope="module")

TOPICS = (IMAGES, EVENTS, KEYS, REJECTS)
CHANNELS = DOCUMENT["channels"]
PHOTO = images.jpeg(images.photo((320, 240)))
PACKED = images.jpeg(images.photo((640, 480), noise=8))
# Noise does not compress: 1.1 MB, in two records.
LARGE = images.png(images.photo((700, 530), noise=255), compress_level=1, private=False)
STRANGER = Record(b"stranger", b"hello")
SIGNED = {"signing_keys": keys(k1=K1)}
KEY = ImageKey(bytes(32), WrappedKey("k1", "A" * 56))
SHREDDED = ImageKey(bytes(32), Address(Position(0, 7), bytes(12)))
BOUNDARY = b"--imagegate-picture"


class Written:
    """A gateway that has written all that it can, and the comparisons of its records.

    Attributes:
        client: A client of it.
        headers: Those of a client that may do everything; none where no key is needed.
        compared: The comparison of each topic.
        on_kafka: Whether its log is a Kafka; only there values may be in Base64.
        topic_prefix: The prefix of the topics there.
    """

    def __init__(self, client, topic_prefix, key=None):
        self.client = client
        self.key = key
        self.headers = bearer(key) if key else {}
        self.compared = {topic: Comparison(topic) for topic in TOPICS}
        self.on_kafka = topic_prefix is not None
        self.topic_prefix = topic_prefix

    async def upload(self, data=PHOTO, key=None, **fields):
        files = {"file": ("Küste.jpg", data)}
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        return self._stored(
            await self.client.post("/images", files=files, data=fields, headers=headers)
        )

    async def moves(self):
        """Announce images from another log, with all that their events can say; delete one."""
        owned = {"owner": "key:1", "visibility": Visibility.OWNER, "source": "door"}
        more = {"chunk_bytes": 16_384, "chunks": (Position(0, 8),), "claim": claimed(uses=2).claim}
        here, gone, ends = (
            replace(moved(number, number + 1, number + 2, content_length=30_000, **owned), **more)
            for number in (10, 20, 30)
        )
        options = {"metadata": "strip", "expires_in": 9}
        ends = replace(ends, info=replace(ends.info, expires_at=4_000_000_000, **options))
        former_ids = gone.move.former_ids
        sealed = replace(here, image_id=image_id(40), move=Move((image_id(41),), 0), key=KEY)
        kept = replace(here, image_id=image_id(50), move=Move((image_id(51),), 0), key=SHREDDED)
        rewrapped = ImageRewrapped(
            kept.image_id, SHREDDED.stated, Address(Position(0, 9), bytes(12))
        )
        stored = replace(here, image_id=image_id(60), move=None, key=SHREDDED)
        deletion = ImageDeleted(gone.image_id, **owned, claim=gone.claim, former_ids=former_ids)
        events = [here, gone, ends, sealed, kept, rewrapped, stored, deletion]
        events = [OURS.sign(EVENTS, encode(each)) for each in events]
        await self.client.gateway.log.append(EVENTS, events)

    async def images(self):
        """Store an image of each form, with all that a head can say; delete some."""
        link = await make(self.client, self.key, kind="upload", visibility="owner")
        deleted = [self._stored(await self.client.post(link["url"], content=PHOTO))]
        deleted.append(await self.upload(visibility="owner"))
        deleted.append(await self.upload(key="once"))
        await self.upload(LARGE, profile="original")
        await self.upload(PACKED, profile="archive")
        await self.upload(visibility="public")
        await self.upload(expires_in=86_400, source="door")
        # The embedded log erases what is deleted.
        await self.compare(IMAGES, EVENTS)
        for image in deleted:
            answer = await self.client.delete(image["url"], headers=self.headers)
            assert answer.status_code == 204

    @staticmethod
    def _stored(answer):
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def letters(self):
        """Begin to sign, have a stranger's record rejected, and skip it, as an operator does."""
        log = self.client.gateway.log
        await begin_signing(log, OURS)
        [position] = await log.append(EVENTS, [STRANGER])
        await until(lambda: self.client.gateway.feed.sequence >= position.offset)
        await dead_letters.DeadLetters(log, OURS).skip(position.offset)

    async def compare(self, *topics):
        """Compare each record that is still there, but the stranger's."""
        log = self.client.gateway.log
        for topic in topics:
            for partition in range(log.partitions(topic)):
                for offset in range((await log.bounds(topic, partition)).end):
                    with suppress(RecordGoneError):
                        record = (await log.read(topic, Position(partition, offset))).record
                        # A tombstone has only the key of what it ends.
                        if record.key != STRANGER.key and record.value is not None:
                            self.compared[topic].add_record(record)


@pytest_asyncio.fixture(
    params=["embedded", pytest.param("kafka", marks=pytest.mark.apache_kafka)],
    scope="module",
    loop_scope="module",
)
async def written(request, tmp_path_factory):
    folder, settings, prefix = tmp_path_factory.mktemp("gateway"), SIGNED, None
    key = make_key(folder, "admin")
    if request.param == "kafka":
        prefix = new_prefix()
        kafka = request.getfixturevalue("kafka")
        settings |= {"bootstrap_servers": kafka.bootstrap_servers, "topic_prefix": prefix}
        # Before the others, which then know of the topic from their start.
        other = {"kafka": settings | {"erasure": "shred"}} | sealing(k1=K1)
        async with in_process(tmp_path_factory.mktemp("shredding"), **other) as shredding:
            image = await Written(shredding, prefix).upload()
            assert (await shredding.delete(image["url"])).status_code == 204
    async with in_process(folder, kafka=settings, **sealing(k1=K1)) as client:
        await Written(client, prefix, key).upload(LARGE, profile="original")
    async with in_process(folder, kafka=settings) as client:
        written = Written(client, prefix, key)
        await written.moves()
        await written.images()
        if written.on_kafka:
            other = settings | {"value_encoding": "base64"}
            async with in_process(tmp_path_factory.mktemp("other"), kafka=other) as encoding:
                await Written(encoding, prefix).upload(LARGE, profile="original")
        await written.letters()
        await written.compare(*TOPICS)
        yield written


def test_every_header_and_member_in_the_log_is_described_and_no_other(written):
    encoded = {(each, "headers", "content-transfer-encoding") for each in ("head", "chunk")}
    for topic, compared in written.compared.items():
        # The embedded log is in no letters, and erases the bytes themselves.
        keys = {("key", "headers", each) for each in ("imagegate-version", "imagegate-signature")}
        on_kafka = {IMAGES: encoded | {("head", "headers", "imagegate-key")}, KEYS: keys}
        left = set() if written.on_kafka else on_kafka.get(topic, set())
        assert compared.unwritten() == left


def test_every_version_that_is_described_is_written_and_no_other(written):
    in_letters = set() if written.on_kafka else {"3", "6"}
    for topic, part, member, unwritten in (
        (IMAGES, "headers", "imagegate-version", in_letters),
        (EVENTS, "payload", "imagegateversion", set()),
    ):
        for name, message in CHANNELS[topic]["messages"].items():
            described = set(map(str, message[part]["properties"][member]["enum"]))
            assert written.compared[topic].values[name, member] == described - unwritten
    if written.on_kafka:
        assert written.compared[KEYS].values["key", "imagegate-version"] == {"6"}


@asynchronous
async def test_an_event_of_the_stream_is_as_it_is_described(written):
    compared = Comparison("events")
    status, body = await beginning(
        written.client,
        "/streams/images",
        written.headers | {"last-event-id": "-1"},
        lambda body: body.count(b"event: image.deleted") == 4 + written.on_kafka,
    )
    assert status == 200
    preamble, *frames, _ = body.decode().split("\n\n")
    assert preamble == ": connected\nretry: 2000"
    assert "`retry: 2000`" in CHANNELS["events"]["description"]
    for frame in frames:
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        compared.add(fields, fields.pop("data").encode())
    # The JSON of every image is one schema, but an image that was uploaded has no former ids.
    assert compared.unwritten() == {("streamedStored", "payload", "former_ids")}


@asynchronous
async def test_a_part_of_the_pictures_is_as_it_is_described(written):
    compared = Comparison("pictures")
    status, body = await beginning(
        written.client,
        "/streams/images.mjpeg",
        written.headers,
        lambda body: body.count(BOUNDARY) == 2,
    )
    assert status == 200
    assert f"`{BOUNDARY.decode().removeprefix('--')}`" in CHANNELS["pictures"]["description"]
    head, _, picture = body.removeprefix(BOUNDARY + b"\r\n").partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    picture = picture.removesuffix(b"\r\n" + BOUNDARY + b"\r\n")
    assert headers["Content-Length"] == str(len(picture))
    compared.add(headers, picture)
    assert compared.unwritten() == set()


@asynchronous
async def test_a_topic_is_created_as_it_is_described(written, request):
    bindings = {topic: CHANNELS[topic]["bindings"]["kafka"] for topic in TOPICS}
    partitions = {topic: each["partitions"] for topic, each in bindings.items()}
    assert partitions == {IMAGES: KafkaSettings().partitions, EVENTS: 1, KEYS: 1, REJECTS: 1}
    for topic in TOPICS:
        assert CHANNELS[topic]["address"] == topic
        config = {
            name: value[0] if isinstance(value, list) else str(value)
            for name, value in bindings[topic]["topicConfiguration"].items()
        }
        assert config.items() <= dict(new_config(topic)).items()
        if written.on_kafka:
            kafka, name = request.getfixturevalue("kafka"), f"{written.topic_prefix}{topic}"
            assert await plain.partition_count(kafka, name) == partitions[topic]
            real = await plain.configuration(kafka, name)
            assert {each: real[each] for each in config} == config


def test_the_streams_take_the_parameters_of_the_api():
    for name in ("streamEvents", "streamPictures"):
        operation = DOCUMENT["operations"][name]
        path = operation["channel"]["address"]
        binding = operation["bindings"]["http"]
        parameters = OPENAPI["paths"][path][binding["method"].lower()]["parameters"]
        taken = [each for each in map(resolve, parameters) if each["in"] == "query"]
        assert binding.get("query", {}).get("properties", {}) == {
            each["name"]: each["schema"]["anyOf"][0] | {"description": each["description"]}
            for each in taken
        }


def test_the_document_is_of_this_version_and_each_operation_is_about_a_channel():
    assert DOCUMENT["info"]["version"] == __version__
    assert set(CHANNELS) == {*TOPICS, "events", "pictures"}
    about = [each["channel"]["address"] for each in DOCUMENT["operations"].values()]
    assert set(about) == {each["address"] for each in CHANNELS.values()}


def test_the_bounds_of_a_letter_are_those_of_the_code():
    letter = CHANNELS[REJECTS]["messages"]["letter"]["payload"]["properties"]
    assert letter["reason"]["maxLength"] == dead_letters._REASON_CHARACTERS
    offsets = {letter[name]["maximum"] for name in ("offset", "next_offset")}
    assert offsets == {MAX_OFFSETS - 1}


def test_every_component_is_referred_to():
    document = load(FILE)
    referred = set(re.findall(r"'#/components/(\w+/\w+)", FILE.read_text("utf-8")))
    components = document["components"].items()
    assert referred == {f"{kind}/{name}" for kind, named in components for name in named}


def test_the_content_type_of_an_event_is_that_in_its_header():
    for name, message in CHANNELS[EVENTS]["messages"].items():
        header = message["headers"]["properties"]["content-type"]
        assert header["const"] == message["contentType"], name
        assert message["name"] == message["payload"]["properties"]["type"]["const"]
