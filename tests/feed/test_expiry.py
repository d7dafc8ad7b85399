"""Images that leave the log by themselves."""

from dataclasses import replace

import pytest

from app.log import IMAGES, Position, Record
from tests.support.facts import stored
from tests.support.world import listed, until_listed


@pytest.mark.usefixtures("tiny_chunks")
async def test_what_left_the_log_by_itself_leaves_the_listing(world):
    pace = {"period_seconds": 0.01, "rest_seconds": 0.0}
    heads = [Record(b"head", b"", partition=0)] * 3 + [Record(b"chunk", b"", partition=1)]
    await world.log.append(IMAGES, heads)
    chunked = replace(stored(2, content_length=20), chunk_bytes=10, chunks=(Position(1, 0),))
    await world.append(stored(0), stored(1), chunked)
    _, catalog = await world.follow(**pace)
    assert await listed(catalog) == [2, 1, 0]
    await world.log.trim(IMAGES, 0, 1)
    await until_listed(catalog, [2, 1])
    await world.log.trim(IMAGES, 1, 1)
    await until_listed(catalog, [1])
    # An image that is announced only now has left already.
    await world.append(stored(0))
    _, other = await world.follow("other.db", **pace)
    await until_listed(other, [1])
