"""A plain Kafka client: the records it finds in the topics, and the harm it can do."""

import base64
import hashlib
import json

import pytest

from app.events.event import VERSION
from tests.support import images, plain
from tests.support.gateway_process import until

pytestmark = pytest.mark.kafka

JPEG = images.jpeg(images.photo((320, 240)))
NEWER = {
    "specversion": "1.0",
    "id": "1",
    "source": "urn:imagegate",
    "type": "image.renamed",
    "subject": "a" * 32,
    "imagegateversion": VERSION + 1,
}


def where(image_id):
    """Decode an id: its partition and offset, and its cookie."""
    raw = base64.b32decode(image_id.upper())
    return (int.from_bytes(raw[:2], "big"), int.from_bytes(raw[2:8], "big")), raw[8:].hex()


class TestPictures:
    async def test_a_record_of_the_topic_is_the_picture_with_what_it_is(
        self, new_gateway, topics, prefix, kafka
    ):
        gateway = new_gateway(**topics)
        with gateway.client() as client:
            image = client.post("/images", files={"file": ("Küste.jpg", JPEG)}).json()
            served = client.get(image["url"])
        records = await plain.read(kafka, f"{prefix}images", partitions=3)
        position, cookie = where(image["id"])
        assert records.keys() == {position}
        record = records[position]
        assert record.value == served.content
        assert record.key == cookie.encode()
        headers = dict(record.headers)
        meta = json.loads(headers.pop("imagegate-meta"))
        assert headers == {
            "content-type": b"image/jpeg",
            "content-length": str(len(served.content)).encode(),
            "content-digest": served.headers["repr-digest"].encode(),
            "imagegate-version": b"1",
        }
        assert (meta["width"], meta["height"], meta["filename"]) == (320, 240, "Küste.jpg")
        assert meta["profile"] == "balanced"
        assert meta["received_digest"] == hashlib.sha256(JPEG).hexdigest()

    async def test_an_event_of_the_topic_is_a_cloud_event_about_the_picture(
        self, new_gateway, topics, prefix, kafka
    ):
        gateway = new_gateway(**topics)
        with gateway.client() as client:
            image = client.post("/images", content=JPEG).json()
            client.delete(image["url"])
        stored, deleted = (await plain.read(kafka, f"{prefix}image-events")).values()
        assert stored.key == deleted.key == image["id"].encode()
        assert stored.offset == image["sequence"]
        for record, kind in ((stored, "image.stored"), (deleted, "image.deleted")):
            assert dict(record.headers)["content-type"].startswith(b"application/cloudevents+json")
            event = json.loads(record.value)
            assert event["specversion"] == "1.0"
            assert (event["type"], event["subject"]) == (kind, image["id"])
        assert json.loads(stored.value)["id"] != json.loads(deleted.value)["id"]
        assert json.loads(stored.value)["data"]["digest"] == image["digest"].split(":")[1]

    @pytest.mark.apache_kafka  # the imitation has no limits, and counts a batch as one record
    async def test_an_image_of_15_mb_goes_in_and_comes_out_whole_and_by_a_range(
        self, new_gateway, topics, prefix, kafka
    ):
        large = images.photo((2400, 2083), noise=255)
        data = images.png(large, compress_level=1, private=False)
        assert len(data) > 15_000_000
        gateway = new_gateway(**topics)
        with gateway.client() as client:
            response = client.post("/images", content=data)
            assert response.status_code == 201, response.text
            image = response.json()
            served = client.get(image["url"])
            assert f"sha256:{hashlib.sha256(served.content).hexdigest()}" == image["digest"]
            assert images.same_pixels(images.pixels(served.content), large)
            # The sixth record's end, the seventh, and the eighth's beginning.
            middle = (5_999_990, 7_000_010)
            part = client.get(image["url"], headers={"range": f"bytes={middle[0]}-{middle[1] - 1}"})
            assert part.status_code == 206
            assert part.content == served.content[slice(*middle)]
            last = client.get(image["url"], headers={"range": "bytes=-1"})
            assert last.content == served.content[-1:]

        records = await plain.read(kafka, f"{prefix}images", partitions=3)
        position, cookie = where(image["id"])
        size, *addresses = dict(records[position].headers)["imagegate-chunks"].decode().split(",")
        chunks = [records[tuple(map(int, address.split(":")))] for address in addresses]
        assert len(records) == 1 + len(chunks) == 16
        assert size == "1000000"
        for number, chunk in enumerate(chunks, start=1):
            assert chunk.key == f"{cookie}/{number}".encode()
            assert dict(chunk.headers)["imagegate-chunk"] == str(number).encode()
        assert len({chunk.partition for chunk in chunks}) == 3
        whole = records[position].value + b"".join(chunk.value for chunk in chunks)
        assert whole == served.content


class TestStrangers:
    # The in-memory broker counts a batch of records as one in what it says of a topic's end.
    @pytest.mark.apache_kafka
    async def test_a_strangers_record_becomes_one_dead_letter_and_the_feed_goes_on(
        self, new_gateway, topics, prefix, kafka, tmp_path
    ):
        gateway = new_gateway(**topics)
        with gateway.client() as client:
            assert client.post("/images", content=JPEG).status_code == 201
            strange = [(b"stranger", b"hello"), (None, b"{}"), (b"tombstone", None)]
            await plain.write(kafka, f"{prefix}image-events", *strange)
            image = client.post("/images", content=JPEG).json()
            assert image["sequence"] == 4
            assert client.get("/images").json()["images"][0] == image
            assert client.get("/health/ready").status_code == 200
        letters = (await plain.read(kafka, f"{prefix}image-rejects")).values()
        assert {letter.key for letter in letters} == {
            b"image-events:0:1",
            b"image-events:0:2",
            b"image-events:0:3",
        }
        for letter in letters:
            said = json.loads(letter.value)
            assert letter.key == f"{said['topic']}:{said['partition']}:{said['offset']}".encode()
            assert said["reason"]
        assert gateway.terminate() == 0

        # A catalog that is rebuilt meets all of them again.
        again = new_gateway(data_dir=tmp_path / "empty", **topics)
        with again.client() as client:
            assert len(client.get("/images").json()["images"]) == 2
        assert len(await plain.read(kafka, f"{prefix}image-rejects")) == len(letters)

    async def test_an_event_of_a_newer_version_stops_the_feed_and_readiness_says_so(
        self, new_gateway, topics, prefix, kafka
    ):
        gateway = new_gateway(**topics)
        with gateway.client() as client:
            image = client.post("/images", content=JPEG).json()
            record = (NEWER["subject"].encode(), json.dumps(NEWER).encode())
            offset = await plain.write(kafka, f"{prefix}image-events", record)
            until(lambda: client.get("/health/ready").status_code == 503, 10)
            detail = client.get("/health/ready").json()["detail"].lower()
            assert "newer version" in detail
            assert f"offset {offset}" in detail
            # It might delete an image that comes later, but not one that was there before.
            assert client.get(image["url"]).status_code == 200
            for answer in (client.get("/images"), client.post("/images", content=JPEG)):
                assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
            assert client.get("/health/live").status_code == 200
            assert await plain.read(kafka, f"{prefix}image-rejects") == {}
            letter = {"topic": "image-events", "partition": 0, "offset": offset}
            skip = json.dumps(letter | {"next_offset": offset + 1}).encode()
            await plain.write(kafka, f"{prefix}image-rejects", (b"", skip))
            until(lambda: client.get("/health/ready").status_code == 200, 10)
            assert client.post("/images", content=JPEG).status_code == 201
        assert gateway.terminate() == 0

    async def test_a_record_of_a_strangers_among_the_images_is_not_found(
        self, new_gateway, topics, prefix, kafka
    ):
        gateway = new_gateway(**topics)
        cookie = bytes(range(12))
        offset = await plain.write(kafka, f"{prefix}images", (cookie.hex().encode(), b"bytes"))
        address = (0).to_bytes(2, "big") + offset.to_bytes(6, "big")
        with gateway.client() as client:
            for key in (cookie, bytes(12)):
                guess = base64.b32encode(address + key).decode().lower()
                response = client.get(f"/images/{guess}")
                assert (response.status_code, response.json()["code"]) == (404, "image-not-found")
        assert gateway.mistakes() == []
