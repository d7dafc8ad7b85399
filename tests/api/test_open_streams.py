"""Streams that are open while the credential of their reader ends."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from app.access import key_file
from app.access.principal import Principal
from app.access.scopes import Scope
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process
from tests.support.links import make
from tests.support.streamed import beginning

BOTH = pytest.mark.parametrize("stream", ["images", "images.mjpeg"])


@pytest.fixture
def changed(tmp_path):
    """Change a key in the file of a gateway, which reads it at once."""

    def change(client, key, **members):
        with key_file.changing(tmp_path / "keys.json") as keys:
            [number] = [n for n, each in enumerate(keys) if each.id == key.split("_")[1]]
            keys[number] = keys[number].model_copy(update=members)
        client.app_access._keys._looked = -1e9

    return change


async def upload(client, headers):
    response = await client.post("/images", content=images.jpeg(), headers=headers)
    assert response.status_code == 201
    return response.json()["id"].encode()


async def watch(client, path, headers, ending):
    """What comes until a stream ends by itself, which `ending` is to cause once it is open."""
    is_open = asyncio.Event()
    watching = asyncio.create_task(beginning(client, path, headers, lambda _: is_open.set()))
    await is_open.wait()
    await ending()
    status, body = await watching
    assert status == 200
    return body


@BOTH
async def test_a_stream_shows_nothing_more_once_its_key_is_revoked(tmp_path, changed, stream):
    reader, other = make_key(tmp_path, "admin"), make_key(tmp_path, "images:write")
    async with in_process(tmp_path) as client:
        later = []

        async def revoke():
            changed(client, reader, revoked_at=datetime.now(UTC))
            later.append(await upload(client, bearer(other)))

        body = await watch(client, f"/streams/{stream}", bearer(reader), revoke)
        assert later[0] not in body


@BOTH
async def test_so_does_one_by_a_link_once_its_maker_lacks_the_right(tmp_path, changed, stream):
    reader, other = make_key(tmp_path, "admin"), make_key(tmp_path, "images:write")
    async with in_process(tmp_path) as client:
        later = []

        async def demote():
            changed(client, reader, scopes=frozenset({Scope.STREAMS}))
            later.append(await upload(client, bearer(other)))

        url = (await make(client, reader, kind="stream", stream=stream))["url"]
        body = await watch(client, url, {}, demote)
        assert later[0] not in body


@BOTH
async def test_so_does_one_without_a_credential_once_there_is_a_key(tmp_path, stream):
    async with in_process(tmp_path) as client:
        later = []

        async def close():
            key = make_key(tmp_path, "images:write")
            client.app_access._keys._looked = -1e9
            later.append(await upload(client, bearer(key)))

        body = await watch(client, f"/streams/{stream}", {}, close)
        assert later[0] not in body


async def test_a_token_ends_as_it_says(tmp_path):
    make_key(tmp_path, "admin")
    async with in_process(tmp_path) as client:
        for seconds, still in ((60, True), (-1, False)):
            ends = time.time() + seconds
            reader = Principal("https://issuer.example#1", frozenset(), expires_at=ends)
            assert client.app_access.still_admits(reader) is still


async def test_a_link_ends_with_the_rights_of_its_maker(tmp_path, changed):
    maker, owner = make_key(tmp_path, "admin"), "key:AAAAAAAAAAA"
    async with in_process(tmp_path) as client:
        urls = [
            (await make(client, maker, kind="upload", owner=each))["url"] for each in (None, owner)
        ]
        changed(client, maker, scopes=frozenset({Scope.WRITE}))
        own, of_another = [await client.post(url, content=images.jpeg()) for url in urls]
        assert (own.status_code, of_another.status_code) == (201, 403)
