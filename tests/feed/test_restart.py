"""Restarts, kills and damage: the catalog is exact again, whatever happened to it."""

import asyncio
import random
import sqlite3
from contextlib import closing

import pytest

from app.errors import CatalogDamagedError, NotReadyError
from app.events.event import encode
from app.log import EVENTS
from tests.support.facts import deleted, image_id, stored, until
from tests.support.world import POISON, facts, find_damaged, listed, starts_of_tails


async def test_a_catalog_that_is_damaged_is_rebuilt_while_the_feed_runs(world):
    await world.append(stored(1), stored(2), deleted(1))
    await world.follow()
    await world.stop()
    path = world.folder / "catalog.db"
    with closing(sqlite3.connect(path)) as connection:
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        [root] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'images'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)
    feed, catalog = await world.follow()
    with pytest.raises(CatalogDamagedError):
        await catalog.newest(10)
    await world.append(stored(4))
    await until(lambda: feed.epoch == 1 and feed.trouble is None)
    await feed.caught_up()
    # The first event was erased together with its image.
    assert await listed(catalog) == [3, 1]
    assert await catalog.is_deleted(image_id(1))


async def test_while_a_damaged_catalog_is_replaced_nobody_is_answered(world, monkeypatch):
    await world.append(stored(1), deleted(1))
    feed, catalog = await world.follow()
    discard, asked = catalog.discard, []

    async def spy():
        with pytest.raises(NotReadyError):
            feed.require_caught_up()
        await discard()
        asked.append(await catalog.is_deleted(image_id(1)))
        with pytest.raises(NotReadyError):
            feed.require_caught_up()

    monkeypatch.setattr(catalog, "discard", spy)
    find_damaged(catalog, monkeypatch)
    before = feed.epoch
    await world.append(stored(2))
    await until(lambda: feed.epoch > before and feed.trouble is None)
    assert asked == [False]
    assert await catalog.is_deleted(image_id(1))


async def test_a_restart_resumes_after_the_last_event(world, monkeypatch):
    await world.append(stored(1), stored(2), deleted(1))
    await world.follow()
    await world.stop()
    await world.append(stored(3))
    starts = starts_of_tails(world.log, monkeypatch)
    _, catalog = await world.follow()
    assert starts == [3]
    assert [sequence for sequence, *_ in await facts(catalog)] == [0, 1, 2, 3]
    assert await listed(catalog) == [3, 1]


async def test_after_a_kill_nothing_is_skipped_or_repeated(world, monkeypatch):
    await world.append(stored(1), stored(2))
    _, catalog = await world.follow()
    applying = asyncio.Event()

    async def never(*_):
        applying.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(catalog, "apply", never)
    await world.append(deleted(1), stored(3))
    await asyncio.wait_for(applying.wait(), 10)
    starts = starts_of_tails(world.log, monkeypatch)
    _, resumed = await world.follow(world.kill())
    assert starts == [2]
    assert [sequence for sequence, *_ in await facts(resumed)] == [0, 1, 2, 3]
    assert await listed(resumed) == [3, 1]


async def test_a_deleted_catalog_is_rebuilt_as_it_was(world):
    await world.append(stored(1), stored(2, filename="b.png"), POISON, deleted(1), stored(4))
    _, catalog = await world.follow()
    before = await facts(catalog), await catalog.newest(100)
    await world.stop()
    for path in world.folder.glob("catalog.db*"):
        path.unlink()
    _, rebuilt = await world.follow()
    # The event that announced image 1, its file name included, was erased with it.
    assert [fact for fact in before[0] if fact not in await facts(rebuilt)] == before[0][:1]
    assert (await facts(rebuilt), await rebuilt.newest(100)) == (before[0][1:], before[1])


async def test_a_deletion_erases_the_file_name_from_the_embedded_log(world):
    await world.append(stored(1, filename="SECRET-NAME.png"), stored(2, filename="b.png"))
    feed, _ = await world.follow()
    await world.append(deleted(1))
    await feed.caught_up()
    await world.stop()
    files = [path.read_bytes() for path in world.folder.rglob("*") if path.is_file()]
    assert not any(b"SECRET-NAME" in content for content in files)
    assert any(b"b.png" in content for content in files)


@pytest.mark.parametrize("seed", range(4))
async def test_any_history_with_restarts_and_kills_gives_the_same_catalog(world, seed):
    chance = random.Random(seed)
    alive, dead, history, name = {}, set(), [], "catalog.db"
    for _ in range(6):
        for _ in range(chance.randrange(12)):
            number = chance.randrange(8)
            event = chance.choice([stored, stored, deleted, lambda _: POISON])(number)
            sequence, copies = len(history), chance.choice([1, 1, 2])
            record = event if event is POISON else encode(event)
            history += [record] * copies
            await world.append(*[record] * copies)
            if event == deleted(number):
                dead.add(number)
                alive.pop(number, None)
            elif event is not POISON and number not in dead:
                alive.setdefault(number, sequence)
        await world.follow(name)
        if chance.random() < 0.5 and name == "catalog.db":
            name = world.kill()
        await world.stop()
    _, catalog = await world.follow(name)
    images = {image.id: image.sequence for image in await catalog.newest(1000)}
    assert images == {image_id(number): sequence for number, sequence in alive.items()}
    for number in range(8):
        assert await catalog.is_deleted(image_id(number)) == (number in dead)
    poisoned = [f"{EVENTS}:0:{n}" for n, record in enumerate(history) if record is POISON]
    assert [key for key, _ in await world.letters()] == poisoned
