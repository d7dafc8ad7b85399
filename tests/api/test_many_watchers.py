"""Many who follow the events at once: each gets what it may see and asked for, all of it, once."""

import asyncio
import json

from app.feed.pages import PAGE
from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.in_process import in_process
from tests.support.streamed import beginning

# Of each reader and source.
WATCHERS = 5
SMALL = images.png(images.photo((8, 8)))
SOURCES = ("door", "gate")


class Watching:
    """A watcher, and the images that it was told of; a slow one takes none of them yet."""

    def __init__(self, client, key, source, count, held=None):
        self.is_open = asyncio.Event()
        self._count = count
        path = "/streams/images" + (f"?source={source}" if source else "")
        self._reading = asyncio.create_task(
            beginning(client, path, bearer(key), self._is_enough, held)
        )

    def _is_enough(self, body):
        self.is_open.set()
        return body.count(b"\nid: ") >= self._count

    async def ids(self):
        status, body = await self._reading
        assert status == 200
        lines = body.decode().splitlines()
        return [json.loads(line[6:])["id"] for line in lines if line.startswith("data: ")]


async def test_each_sees_all_of_its_own_and_of_its_source_and_nothing_else_and_a_slow_one_too(
    tmp_path,
):
    scopes = ("images:write", "streams:read")
    keys = {who: make_key(tmp_path, *scopes) for who in ("ann", "bob")}
    keys["all"] = make_key(tmp_path, "admin")
    sent = [(who, SOURCES[number % 2]) for number in range(PAGE + 4) for who in ("ann", "bob")]

    def wanted(who, source):
        return [who in ("all", each[0]) and source in (None, each[1]) for each in sent]

    async with in_process(tmp_path) as client:
        held = asyncio.Event()
        watching = [
            (
                Watching(client, key, source, sum(wanted(who, source)), held if slow else None),
                wanted(who, source),
            )
            for who, key in keys.items()
            for source in (None, *SOURCES)
            for slow in (True, *[False] * WATCHERS)
        ]
        for watcher, _ in watching:
            await watcher.is_open.wait()

        async def upload(who, source):
            answer = await client.post(
                f"/images?profile=original&source={source}",
                content=SMALL,
                headers=bearer(keys[who]),
            )
            assert answer.status_code == 201
            return answer.json()["id"]

        ids = [await upload(*each) for each in sent]
        held.set()
        for watcher, is_wanted in watching:
            told = [each for each, told in zip(ids, is_wanted, strict=True) if told]
            assert await watcher.ids() == told
