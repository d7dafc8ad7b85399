"""The newest picture: read from the log once and resized once, however many watch it."""

import asyncio
import time
from collections import Counter
from contextlib import aclosing

import pytest

from app.errors import OverloadedError
from tests.support import images
from tests.support.credentials import bearer, make_key, owner_of
from tests.support.in_process import in_process


@pytest.fixture
async def counted(client, monkeypatch):
    """A client of a gateway, with `calls`: how often an image was found, and a worker called."""
    client.calls = Counter()

    def count(part, name):
        real = getattr(part, name)

        async def counting(*args, **options):
            client.calls[name] += 1
            return await real(*args, **options)

        monkeypatch.setattr(part, name, counting)

    count(client.gateway.finder, "find")
    count(client.gateway.pictures._pool, "run")
    return client


async def first_frames(gateway, widths):
    """The first frames of as many watchers, who all come at once."""

    async def watch(width):
        async with aclosing(gateway.pictures.watch(width)) as frames:
            return await anext(frames)

    return await asyncio.gather(*map(watch, widths))


async def stored(client, data):
    response = await client.post("/images", content=data)
    assert response.status_code == 201
    client.calls.clear()
    return response.json()["id"]


async def test_a_picture_is_read_once_and_made_once_a_width(counted):
    image_id = await stored(counted, images.png(images.photo((2000, 1000))))
    frames = await first_frames(counted.gateway, [None] * 20 + [320] * 20 + [300] * 20)
    assert {frame.image_id for frame in frames} == {image_id}
    assert counted.calls == {"find": 1, "run": 2}
    assert len({frame.picture.jpeg for frame in frames}) == 2


async def test_a_jpeg_is_sent_as_it_is_stored(counted):
    image_id = await stored(counted, images.jpeg())
    [frame] = await first_frames(counted.gateway, [None])
    assert counted.calls == {"find": 1}
    assert frame.picture.jpeg == (await counted.get(f"/images/{image_id}")).content


async def test_a_picture_that_could_not_be_made_is_made_for_the_next_watcher(counted, monkeypatch):
    await stored(counted, images.jpeg())
    pictures = counted.gateway.pictures
    with monkeypatch.context() as patched:

        async def fail(*_):
            raise OverloadedError("Too many images wait to be processed.")

        patched.setattr(pictures._pool, "run", fail)
        async with aclosing(pictures.watch(320)) as frames:
            waiting = asyncio.ensure_future(anext(frames))
            assert not (await asyncio.wait({waiting}, timeout=0.2))[0]
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    await first_frames(counted.gateway, [320])
    assert counted.calls["run"] == 1


async def test_a_picture_that_is_deleted_meanwhile_is_not_repeated(counted):
    first = await stored(counted, images.jpeg(images.photo(seed=1)))
    async with aclosing(counted.gateway.pictures.watch()) as frames:
        assert (await anext(frames)).image_id == first
        assert (await counted.delete(f"/images/{first}")).status_code == 204
        following = asyncio.ensure_future(anext(frames))
        assert not (await asyncio.wait({following}, timeout=1))[0]
        second = await stored(counted, images.jpeg(images.photo(seed=2)))
        assert (await following).image_id == second


async def test_a_picture_that_expires_meanwhile_is_not_repeated(counted, monkeypatch):
    real = time.time
    data = images.jpeg(images.photo(seed=1))
    answer = await counted.post("/images", content=data, params={"expires_in": 3_600})
    async with aclosing(counted.gateway.pictures.watch()) as frames:
        assert (await anext(frames)).image_id == answer.json()["id"]
        monkeypatch.setattr(time, "time", lambda: real() + 3_605)
        following = asyncio.ensure_future(anext(frames))
        assert not (await asyncio.wait({following}, timeout=1))[0]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_an_owner_watches_its_own_and_is_not_woken_by_others(tmp_path, monkeypatch):
    keys = [make_key(tmp_path, "images:write", "images:read") for _ in range(2)]
    async with in_process(tmp_path) as client:

        async def upload(key, seed):
            data = images.jpeg(images.photo(seed=seed))
            return (await client.post("/images", content=data, headers=bearer(key))).json()["id"]

        first = await upload(keys[0], 1)
        catalog, asked = client.gateway.catalog, []
        newest = catalog.newest

        async def counting(*args, **options):
            asked.append(options)
            return await newest(*args, **options)

        async with aclosing(client.gateway.pictures.watch(owner=owner_of(keys[0]))) as frames:
            assert (await anext(frames)).image_id == first
            # The repetition, after which nothing is due until there is another picture.
            assert (await anext(frames)).image_id == first
            following = asyncio.ensure_future(anext(frames))
            monkeypatch.setattr(catalog, "newest", counting)
            for seed in range(2, 5):
                await upload(keys[1], seed)
            assert not asked
            second = await upload(keys[0], 9)
            assert (await following).image_id == second
            assert asked
