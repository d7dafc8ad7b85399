"""Gateways of two versions on one Kafka: one of then, and that of today."""

import hashlib

import httpx
import pytest

from app.log import IMAGES
from app.records.address import Address
from app.records.image import head_record
from tests.support import commands, images
from tests.support.credentials import bearer, make_key
from tests.support.facts import info
from tests.support.gateway_process import until
from tests.support.kafka_logs import opened_log
from tests.support.past import program_of

pytestmark = pytest.mark.kafka

# The last commit whose heads and events are all of version 1.
BEFORE = "12b6944ffd13193a90856c11f8d223cdf317384c"
# The last one that knows no Base64.
BEFORE_BASE64 = "f406f286556acc58c5801665d859b143a3d1ce28"
# The last one that knows no images which were moved, or have an end.
BEFORE_MOVES = "13617051ba72050512384e0ebf11215ef76a0bd9"
SCOPES = ("images:write", "images:read", "images:list", "images:delete", "streams:read")
PHOTOS = [images.jpeg(images.photo((80, 60), seed=seed)) for seed in range(6)]
COOKIE = bytes(range(12))


@pytest.fixture
def gateways(new_gateway, topics, tmp_path):
    """Clients of a gateway of then and one of today, and the headers of two keys and of none."""
    keys = {name: bearer(make_key(tmp_path, *SCOPES)) for name in ("owner", "other")} | {"none": {}}
    shared = topics | {"IMAGEGATE_ACCESS__KEYS_FILE": tmp_path / "keys.json"}
    program = program_of(BEFORE, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **shared)
    new = new_gateway(data_dir=tmp_path / "new", IMAGEGATE_ACCESS__READ="public", **shared)
    # No check against the description of today: one of them is of then.
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:
        yield then, today, keys


def upload(client, keys, photo, **options):
    answer = client.post("/images", content=photo, params=options, headers=keys["owner"])
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_what_is_public_is_read_by_both_and_anything_else_by_the_newer_alone(
    gateways, kafka, prefix
):
    then, today, keys = gateways
    by_then = upload(then, keys, PHOTOS[0])
    by_rule = upload(today, keys, PHOTOS[1])
    by_choice = upload(today, keys, PHOTOS[2], visibility="public", source="door")
    gone = upload(today, keys, PHOTOS[3], source="door")
    assert "owner" not in by_then
    assert by_rule["owner"] == by_choice["owner"] == gone["owner"]
    assert today.delete(gone["url"], headers=keys["owner"]).status_code == 204

    served = [by_choice, by_rule, by_then]
    for client in (then, today):
        for image in served:
            answer = client.get(image["url"], headers=keys["other"])
            assert answer.status_code == 200, answer.text
            assert answer.headers["repr-digest"]
        until(
            lambda client=client: client.get(gone["url"], headers=keys["owner"]).status_code == 410
        )
    listed = then.get("/images", headers=keys["other"]).json()["images"]
    assert [each["id"] for each in listed] == [each["id"] for each in served]

    # The head alone, without the event that stops the older gateway as a whole.
    closed = info(content_length=7, owner=by_rule["owner"], visibility="owner")
    async with opened_log(kafka, topic_prefix=prefix) as log:
        [place] = await log.append(
            IMAGES, [head_record(COOKIE, memoryview(bytes(7)), closed, 7, ())]
        )
    refused = then.get(f"/images/{Address(place, COOKIE)}", headers=keys["owner"])
    assert (refused.status_code, refused.json()["code"]) == (503, "newer-version")

    own = upload(today, keys, PHOTOS[4], visibility="owner")
    for kind, status in (("none", 401), ("other", 404), ("owner", 200)):
        assert today.get(own["url"], headers=keys[kind]).status_code == status
    until(lambda: then.get("/health/ready").status_code == 503)
    for path in (own["url"], f"{own['url']}/metadata", "/images", "/streams/images"):
        answer = then.get(path, headers=keys["owner"])
        assert (answer.status_code, answer.json()["code"]) == (503, "not-ready"), path
    # It goes on with what it knew before, and the newer one with everything.
    for image in served:
        assert then.get(image["url"], headers=keys["other"]).status_code == 200
    listed = today.get("/images", headers=keys["owner"]).json()["images"]
    assert [each["id"] for each in listed] == [own["id"], by_choice["id"], by_rule["id"]]


def test_base64_is_refused_by_the_older_one_which_goes_on_with_everything_else(
    new_gateway, topics, tmp_path
):
    program = program_of(BEFORE_BASE64, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **topics)
    new = new_gateway(data_dir=tmp_path / "new", IMAGEGATE_KAFKA__VALUE_ENCODING="base64", **topics)
    small = images.jpeg(images.photo((80, 60)))
    chunked = images.png(images.photo((1200, 750), noise=255), compress_level=1, private=False)
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:

        def upload(client, data):
            answer = client.post("/images", content=data, params={"profile": "original"})
            assert answer.status_code == 201, answer.text
            return answer.json()

        in_base64 = [upload(today, small), upload(today, chunked)]
        as_it_is = [upload(then, small), upload(then, chunked)]
        stored = [*in_base64, *as_it_is]
        for image in stored:
            answer = today.get(image["url"])
            assert answer.status_code == 200, answer.text
            assert hashlib.sha256(answer.content).hexdigest() == image["digest"].split(":")[1]
        until(lambda: len(then.get("/images").json()["images"]) == len(stored))
        listed = today.get("/images").json()["images"]
        # The older one passes over what it does not know of those of today.
        assert [each["receipt"].pop("metadata", None) for each in listed] == [
            *(None, None),
            *("strip", "strip"),
        ]
        assert then.get("/images").json()["images"] == listed
        for image in in_base64:
            for headers in ({}, {"range": "bytes=0-9"}):
                answer = then.get(image["url"], headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (503, "newer-version")
            assert then.head(image["url"]).status_code == 503
        for image in as_it_is:
            assert then.get(image["url"]).status_code == 200
        assert then.get("/health/ready").status_code == 200
        assert today.delete(in_base64[1]["url"]).status_code == 204
        until(lambda: then.get(in_base64[1]["url"]).status_code == 410)


def test_a_move_stops_the_older_one_which_goes_on_with_what_it_knew(new_gateway, topics, tmp_path):
    program = program_of(BEFORE_MOVES, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **topics)
    new = new_gateway(data_dir=tmp_path / "new", **topics)
    embedded = new_gateway(data_dir=tmp_path / "embedded")
    with httpx.Client(base_url=embedded.url) as client:
        outgrown = client.post("/images", content=PHOTOS[0]).json()
        deleted = client.post("/images", content=PHOTOS[1]).json()
        assert client.delete(deleted["url"]).status_code == 204
    assert embedded.terminate() == 0
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:
        before = then.post("/images", content=PHOTOS[2]).json()
        commands.run("import", tmp_path / "embedded", **topics)
        until(lambda: today.get(outgrown["url"]).status_code == 200)
        assert today.get(deleted["url"]).status_code == 410
        until(lambda: then.get("/health/ready").status_code == 503)
        moved = today.get(f"{outgrown['url']}/metadata").json()
        for url in (outgrown["url"], moved["url"], "/images"):
            answer = then.get(url)
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready"), url
        for client in (then, today):
            assert client.get(before["url"]).status_code == 200
        assert today.delete(outgrown["url"]).status_code == 204
        assert today.get(moved["url"]).status_code == 410


def test_an_image_with_an_end_stops_the_older_one_and_is_never_served_by_it(
    new_gateway, topics, tmp_path
):
    program = program_of(BEFORE_MOVES, tmp_path / "code")
    old = new_gateway(data_dir=tmp_path / "old", program=program, **topics)
    new = new_gateway(data_dir=tmp_path / "new", **topics)
    with httpx.Client(base_url=old.url) as then, httpx.Client(base_url=new.url) as today:
        before = then.post("/images", content=PHOTOS[0]).json()
        ends = today.post("/images?expires_in=3600", content=PHOTOS[1]).json()
        assert today.get(ends["url"]).status_code == 200
        until(lambda: then.get("/health/ready").status_code == 503)
        answer = then.get(ends["url"])
        assert (answer.status_code, answer.json()["code"]) in {
            (503, "not-ready"),
            (503, "newer-version"),
        }
        for client in (then, today):
            assert client.get(before["url"]).status_code == 200
