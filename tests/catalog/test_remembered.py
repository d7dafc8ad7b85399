"""What the catalog remembers of images that are asked for: no longer than it is true."""

import asyncio
import threading

import pytest

from app.catalog.catalog import Catalog
from app.catalog.progress import Progress
from app.events.sequenced import SequencedEvent
from tests.support.facts import deleted, image_id, moved, stored


@pytest.fixture
async def catalog(tmp_path, monkeypatch):
    """A catalog that lists an image; `asked` counts its queries."""
    catalog = Catalog(tmp_path / "catalog.db")
    await catalog.open()
    await apply(catalog, stored(1))
    catalog.asked, query = 0, catalog._database.query

    async def counted(*arguments):
        catalog.asked += 1
        return await query(*arguments)

    monkeypatch.setattr(catalog._database, "query", counted)
    yield catalog
    await catalog.close()


async def apply(catalog, *events, start=0):
    """Apply events at the sequence numbers from `start` on."""
    sequenced = [SequencedEvent(start + at, 0, event) for at, event in enumerate(events)]
    end = start + len(events)
    await catalog.apply(sequenced, Progress("log", end, end - 1, b"fingerprint"))


async def is_deleted(catalog, number=1):
    """Whether an image is; None if it is unknown."""
    known = (await catalog.known(image_id(number))).ownership
    return known and known.is_deleted


async def test_the_file_is_asked_once_about_an_image_that_is_listed(catalog):
    assert [await is_deleted(catalog) for _ in range(3)] == [False] * 3
    assert catalog.asked == 1
    await apply(catalog, stored(2), start=1)
    assert await is_deleted(catalog) is False
    assert catalog.asked == 1


async def test_an_unknown_image_is_not_remembered(catalog):
    assert await is_deleted(catalog, 2) is None
    await apply(catalog, stored(2), start=1)
    assert await is_deleted(catalog, 2) is False


@pytest.mark.parametrize(
    ("change", "now"),
    [
        (lambda catalog: apply(catalog, deleted(1), start=1), True),
        (lambda catalog: apply(catalog, stored(2), deleted(1), stored(3), start=1), True),
        (lambda catalog: catalog.forget_before({1: 2, 0: 2**40}), None),
        (lambda catalog: catalog.reset("another"), None),
        (lambda catalog: catalog.discard(), None),
    ],
)
async def test_a_change_is_known_at_once(catalog, change, now):
    assert await is_deleted(catalog) is False
    await change(catalog)
    assert await is_deleted(catalog) is now


async def test_an_image_that_was_moved_is_known_at_once_by_its_former_id(catalog):
    await apply(catalog, moved(2, 9), start=1)
    assert (await catalog.known(image_id(9))).image_id == image_id(2)
    await apply(catalog, deleted(2), start=2)
    assert await is_deleted(catalog, 9) is True
    assert await is_deleted(catalog, 2) is True


async def test_an_answer_that_a_change_has_overtaken_is_not_remembered(catalog, monkeypatch):
    read, may_return = threading.Event(), threading.Event()
    query = catalog._database.query

    async def held_up(parse, statement, *parameters):
        def parse_later(row):
            read.set()
            assert may_return.wait(10)
            return parse(row)

        return await query(parse_later, statement, *parameters)

    monkeypatch.setattr(catalog._database, "query", held_up)
    asking = asyncio.create_task(is_deleted(catalog))
    await asyncio.to_thread(read.wait, 10)
    await apply(catalog, deleted(1), start=1)
    may_return.set()
    assert await asking is False
    assert await is_deleted(catalog) is True
