"""A log or a catalog that fails: the feed says so, and heals."""

import asyncio
import sqlite3
from contextlib import aclosing

import pytest

from app.catalog.catalog import Catalog
from app.catalog.progress import Progress
from app.errors import LogUnavailableError
from app.feed.expiry import Expiry
from app.feed.feed import Feed
from app.feed.follow import Follower
from tests.support.facts import stored, until
from tests.support.world import POISON, facts, listed


async def test_a_log_that_is_away_is_told_and_heals(world, monkeypatch):
    tail, away = world.log.tail, [True]

    async def faulty(*arguments):
        if away:
            raise LogUnavailableError("the broker is away")
        async with aclosing(tail(*arguments)) as batches:
            async for batch in batches:
                yield batch

    monkeypatch.setattr(world.log, "tail", faulty)
    await world.append(stored(1))
    feed, catalog = await world.follow(caught_up=False)
    await until(lambda: "the broker is away" in (feed.trouble or ""))
    away.clear()
    await asyncio.wait_for(feed.caught_up(), 10)
    assert feed.trouble is None
    assert await listed(catalog) == [0]


async def test_a_log_that_is_away_when_the_catalog_is_new_heals(world, monkeypatch):
    bounds = world.log.bounds

    async def away(*_):
        raise LogUnavailableError("the broker is away")

    monkeypatch.setattr(world.log, "bounds", away)
    feed, _ = await world.follow(caught_up=False)
    await until(lambda: "the broker is away" in (feed.trouble or ""))
    monkeypatch.setattr(world.log, "bounds", bounds)
    await asyncio.wait_for(feed.caught_up(), 10)
    assert feed.trouble is None


async def test_what_was_answered_before_the_log_went_away_still_is(world, monkeypatch):
    feed, catalog = await world.follow()
    await world.append(stored(1))
    await feed.caught_up()
    tail = world.log.tail

    async def faulty(*arguments):
        raise LogUnavailableError("the broker is away")
        yield

    monkeypatch.setattr(world.log, "tail", faulty)
    restarted = Feed(world.log)
    restarted.advance(Progress(""), 0)
    follower = Follower(world.log, catalog, restarted, Expiry(world.log, catalog))
    await follower.start()
    await until(lambda: "the broker is away" in (restarted.trouble or ""))
    restarted.require_caught_up()
    await follower.stop()
    monkeypatch.setattr(world.log, "tail", tail)


@pytest.mark.parametrize("method", ["apply", "reset"])
async def test_a_catalog_that_fails_is_told_and_heals_exactly(world, monkeypatch, method):
    working, failing = getattr(Catalog, method), [True]

    async def faulty(*arguments):
        if failing:
            raise sqlite3.OperationalError("database or disk is full")
        return await working(*arguments)

    monkeypatch.setattr(Catalog, method, faulty)
    await world.append(stored(1), POISON, stored(2))
    feed, catalog = await world.follow(caught_up=False)
    await until(lambda: "OperationalError" in (feed.trouble or ""))
    failing.clear()
    await asyncio.wait_for(feed.caught_up(), 10)
    assert feed.trouble is None
    assert [sequence for sequence, *_ in await facts(catalog)] == [0, 2]
    assert len(await world.letters()) == 1
