"""`dedupe=exact`: the same upload again is answered with the image that is there."""

import hashlib
import time

import pytest

from app.errors import RecordGoneError
from app.log import IMAGES
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process, problem
from tests.support.links import make
from tests.support.sealing import sealing
from tests.support.signing import K1

JPEG = images.jpeg(images.photo((40, 30)))
OTHER = images.jpeg(images.photo((30, 40)))
OPTIONS = {"profile": "small", "metadata": "keep", "expires_in": 3_600, "source": "door"}


async def upload(client, status, *, data=JPEG, name="img.jpg", headers=None, **fields):
    fields = {"dedupe": "exact"} | fields
    answer = await client.post(
        "/images", files={"file": (name, data)}, data=fields, headers=headers or {}
    )
    assert answer.status_code == status, answer.text
    return answer


async def count(client, headers=None):
    return len((await client.get("/images", headers=headers or {})).json()["images"])


class TestTheSame:
    async def test_it_answers_200_with_the_image_that_is_there(self, client):
        first = await upload(client, 201, **OPTIONS)
        again = await upload(client, 200, **OPTIONS)
        assert again.json() == first.json()
        for name in ("location", "etag", "repr-digest"):
            assert again.headers[name] == first.headers[name]
        assert await count(client) == 1
        digest = hashlib.sha256(JPEG).hexdigest()
        assert again.json()["receipt"]["received_digest"] == f"sha256:{digest}"

    async def test_an_image_that_was_stored_without_it_is_found_too(self, client):
        first = await client.post("/images", content=JPEG)
        again = await client.post("/images?dedupe=exact", content=JPEG)
        assert (again.status_code, again.json()) == (200, first.json())

    async def test_without_it_every_upload_is_stored(self, client):
        for fields in ({}, {"dedupe": "none"}):
            await upload(client, 201, **({"dedupe": "none"} | fields))
        assert await count(client) == 2

    async def test_the_newest_of_several_is_the_answer(self, client):
        await upload(client, 201)
        newest = await upload(client, 201, dedupe="none")
        assert (await upload(client, 200)).json() == newest.json()


class TestAnother:
    @pytest.mark.parametrize(
        "change",
        [
            {"data": OTHER},
            {"name": "img2.jpg"},
            {"profile": "balanced"},
            {"metadata": "strip"},
            {"expires_in": 3_601},
            {"source": "gate"},
            {"visibility": "owner"},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_whatever_differs_is_stored(self, client, change):
        first = await upload(client, 201, **OPTIONS)
        other = await upload(client, 201, **(OPTIONS | change))
        assert other.json()["id"] != first.json()["id"]

    async def test_an_image_of_a_type_that_the_client_does_not_accept_is_not_the_answer(
        self, client
    ):
        picture = images.png(images.photo((200, 150)))
        webp, none = {"accept": "image/webp"}, {"accept": "image/png"}
        first = await upload(client, 201, data=picture, profile="lossless", headers=webp)
        assert first.json()["content_type"] == "image/webp"
        again = await upload(client, 200, data=picture, profile="lossless", headers=webp)
        assert again.json()["id"] == first.json()["id"]
        other = await upload(client, 201, data=picture, profile="lossless", headers=none)
        assert other.json()["content_type"] == "image/png"

    async def test_a_deleted_image_is_not_the_answer(self, client):
        first = (await upload(client, 201)).json()
        await client.delete(first["url"])
        assert (await upload(client, 201)).json()["id"] != first["id"]

    async def test_an_expired_image_is_not_the_answer(self, client, monkeypatch):
        await upload(client, 201, expires_in=1)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 60)
        await upload(client, 201, expires_in=1)

    async def test_an_image_that_left_the_log_is_not_the_answer(self, client, monkeypatch):
        first = (await upload(client, 201)).json()
        gateway, read = client.gateway, client.gateway.log.read

        async def gone(topic, position):
            if topic == IMAGES:
                raise RecordGoneError("It is gone.")
            return await read(topic, position)

        monkeypatch.setattr(gateway.log, "read", gone)
        assert (await upload(client, 201)).json()["id"] != first["id"]


class TestPrincipals:
    @pytest.mark.parametrize("sealed", [False, True], ids=["clear", "encrypted"])
    async def test_nobody_learns_what_another_has_stored(self, tmp_path, sealed):
        keys = [make_key(tmp_path, "images:write", "images:list") for _ in "ab"]
        mine, theirs = map(bearer, keys)
        sections = sealing(k1=K1) if sealed else {}
        async with in_process(tmp_path, **sections) as client:
            first = (await upload(client, 201, headers=mine)).json()
            assert (await upload(client, 201, headers=theirs)).json()["id"] != first["id"]
            assert (await upload(client, 200, headers=mine)).json()["id"] == first["id"]

    async def test_who_has_a_link_cannot_ask_for_it(self, client):
        await upload(client, 201)
        link = await make(client, kind="upload")
        answer = await client.post(link["url"], files={"file": JPEG}, data={"dedupe": "exact"})
        assert (
            problem(answer, 422, "invalid-parameter")["detail"] == "dedupe: the link is for none."
        )


async def test_another_value_is_refused(client):
    answer = await client.post("/images?dedupe=similar", content=JPEG)
    told = problem(answer, 422, "invalid-parameter")
    assert told["detail"] == "dedupe: 'similar' is not allowed here; allowed: none, exact."
    assert await count(client) == 0
