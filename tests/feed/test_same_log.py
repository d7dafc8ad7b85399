"""A catalog and a log that belong together, or do not."""

import pytest

from app.errors import LogUnavailableError, NotReadyError
from app.log import EVENTS
from tests.support.facts import deleted, image_id, stored, until
from tests.support.world import find_damaged, listed, starts_of_tails, until_listed


async def test_a_catalog_of_another_log_is_rebuilt(world):
    await world.append(stored(1), stored(2), deleted(3))
    await world.follow()
    await world.stop()
    await world.new_log("other")
    await world.append(stored(3), stored(4), stored(5), stored(6))
    _, catalog = await world.follow()
    # Ids are never given twice, so what was deleted stays so.
    assert await listed(catalog) == [3, 2, 1]
    assert await catalog.image(image_id(1)) is None
    assert await catalog.is_deleted(image_id(3))


async def test_a_log_of_another_identity_is_another_log_though_it_holds_the_same(
    world, monkeypatch
):
    await world.append(stored(1), stored(2))
    await world.follow()
    await world.stop()
    world.log._identity = "a copy"
    starts = starts_of_tails(world.log, monkeypatch)
    _, catalog = await world.follow()
    assert starts == [0]
    assert await listed(catalog) == [1, 0]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_a_topic_replaced_in_the_same_log_is_noticed(world, count):
    identity = world.log.identity
    await world.append(stored(1), stored(2))
    await world.follow()
    await world.stop()
    await world.new_log("other")
    world.log._identity = identity
    await world.append(*(stored(10 + number) for number in range(count)))
    _, catalog = await world.follow()
    assert {image.id for image in await catalog.newest(10)} == {
        image_id(10 + number) for number in range(count)
    }


async def test_events_that_are_lost_make_it_not_ready_and_it_says_so(world):
    await world.append(stored(1), deleted(1), stored(2))
    await world.log.trim(EVENTS, 0, 2)
    feed, catalog = await world.follow(caught_up=False)
    await until(lambda: "offset 2" in (feed.trouble or ""))
    with pytest.raises(NotReadyError, match="lost"):
        feed.require_caught_up()
    assert await listed(catalog) == []


async def test_a_catalog_that_knows_all_lost_events_stays_in_use(world):
    await world.append(stored(1), deleted(1), stored(2))
    await world.follow()
    await world.stop()
    await world.log.trim(EVENTS, 0, 3)
    _, catalog = await world.follow()
    assert await catalog.is_deleted(image_id(1))
    assert await listed(catalog) == [2]
    await world.append(stored(3))
    await until_listed(catalog, [3, 2])


async def test_a_catalog_that_lacks_lost_events_is_neither_used_nor_deleted(world):
    await world.append(stored(1), deleted(1))
    await world.follow()
    await world.stop()
    await world.append(stored(2), deleted(2))
    await world.log.trim(EVENTS, 0, 3)
    feed, catalog = await world.follow(caught_up=False)
    await until(lambda: "offset 3" in (feed.trouble or ""))
    assert await catalog.is_deleted(image_id(1))
    with pytest.raises(NotReadyError):
        feed.require_caught_up()


@pytest.mark.parametrize("fault", ["the log is away", "the topic was trimmed"])
async def test_an_empty_catalog_is_not_mistaken_for_the_damaged_one(world, monkeypatch, fault):
    await world.append(stored(1), deleted(1), stored(2))
    feed, catalog = await world.follow()
    if fault == "the topic was trimmed":
        await world.log.trim(EVENTS, 0, 1)
    else:
        bounds, asked = world.log.bounds, []

        async def fail_once(topic, partition):
            asked.append(topic)
            if len(asked) == 1:
                raise LogUnavailableError("It does not answer.")
            return await bounds(topic, partition)

        monkeypatch.setattr(world.log, "bounds", fail_once)
    find_damaged(catalog, monkeypatch)
    await world.append(stored(3))
    if fault == "the topic was trimmed":
        await until(lambda: "offset 1" in (feed.trouble or ""))
        with pytest.raises(NotReadyError):
            feed.require_caught_up()
    else:
        await until_listed(catalog, [3, 2])
        assert await catalog.is_deleted(image_id(1))
