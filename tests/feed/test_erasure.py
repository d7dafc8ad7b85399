"""The erasure of deleted images from a log that can erase."""

import dataclasses
import sqlite3
import time

import pytest

from app.errors import LogUnavailableError, RecordGoneError
from app.events.event import encode
from app.events.idempotency import LIFETIME_MS, FormerToken
from app.log import EVENTS, IMAGES, Position
from app.records import image as records
from app.records.address import Address
from tests.support import images
from tests.support.core_log import core_of
from tests.support.facts import TOKEN, deleted, image_id, info, keyed, stored, until

pytestmark = pytest.mark.usefixtures("tiny_chunks")


async def append_image(log, cookie=bytes(12)):
    """Append an image of three records; return its id and where they are."""
    view = memoryview(b"SECRET-PICTURE" * 30)
    chunks = records.chunk_records(cookie, view, 200)
    places = await log.append(IMAGES, chunks)
    head = records.head_record(cookie, view, info(content_length=420), 200, places)
    [where] = await log.append(IMAGES, [head])
    return Address(where, cookie), [where, *places]


async def test_a_deletion_erases_every_record_of_the_image(world):
    where, places = await append_image(world.log)
    _, kept = await append_image(world.log, b"another pic.")
    feed, _ = await world.follow()
    await world.append(encode(deleted_at(where)))
    await feed.caught_up()
    assert len(places) == 3
    for place in places:
        with pytest.raises(RecordGoneError):
            await world.log.read(IMAGES, place)
    for place in kept:
        await world.log.read(IMAGES, place)


async def test_a_head_that_names_records_of_another_image_erases_none_of_them(world):
    _, kept = await append_image(world.log, b"another pic.")
    cookie, view = bytes(12), memoryview(b"SECRET-PICTURE" * 30)
    head = records.head_record(cookie, view, info(content_length=420), 200, kept[1:])
    [forged] = await world.log.append(IMAGES, [head])
    feed, _ = await world.follow()
    await world.append(encode(deleted_at(Address(forged, cookie))))
    await feed.caught_up()
    with pytest.raises(RecordGoneError):
        await world.log.read(IMAGES, forged)
    for place in kept:
        await world.log.read(IMAGES, place)


@pytest.mark.parametrize("is_known", [True, False])
async def test_those_that_lost_its_token_are_erased_with_an_image(world, is_known):
    where, places = await append_image(world.log)
    lost = dataclasses.replace(keyed(2), image_id=str(where))
    [first, second] = await world.append(keyed(1), lost)
    if is_known:
        await world.follow()
    former = FormerToken(TOKEN, int(time.time() * 1000))
    await world.append(dataclasses.replace(deleted(1), former_token=former))
    feed, catalog = await world.follow()
    await feed.caught_up()
    for topic, place in [(EVENTS, first), (EVENTS, second), *((IMAGES, each) for each in places)]:
        with pytest.raises(RecordGoneError):
            await world.log.read(topic, place)
    assert await catalog.newest(10) == []
    # Later than a lifetime, it would be the next one with the token.
    before = FormerToken("0b" * 32, former.stored_at_ms - LIFETIME_MS)
    end = dataclasses.replace(deleted(4), former_token=before)
    late, _ = await world.append(keyed(3, before.token), end)
    await feed.caught_up()
    await world.log.read(EVENTS, late)


async def test_an_erasure_that_failed_half_way_is_finished(world, monkeypatch):
    where, places = await append_image(world.log)
    erase, failures = world.log.erase, [LogUnavailableError("not now")]

    async def faulty(topic, positions):
        if failures and where.position in positions:
            raise failures.pop()
        await erase(topic, positions)

    monkeypatch.setattr(world.log, "erase", faulty)
    await world.append(encode(deleted_at(where)))
    await world.follow()
    assert not failures
    for place in places:
        with pytest.raises(RecordGoneError):
            await world.log.read(IMAGES, place)


async def test_an_event_that_is_erased_before_its_deletion_is_applied_is_no_other_log(
    world, monkeypatch
):
    await world.append(stored(1))
    feed, catalog = await world.follow()
    apply, failures = catalog.apply, [sqlite3.OperationalError("disk is full")]

    async def faulty(*arguments):
        if failures:
            raise failures.pop()
        await apply(*arguments)

    monkeypatch.setattr(catalog, "apply", faulty)
    failures[0].sqlite_errorcode = sqlite3.SQLITE_FULL
    before = feed.epoch
    [position] = await world.append(deleted(1))
    assert await feed.applied_within(position.offset, 10)
    assert not failures
    assert feed.epoch == before, "the catalog was rebuilt"
    assert await catalog.is_deleted(image_id(1))


async def test_the_deletion_of_a_guessed_id_erases_nothing(world):
    where, places = await append_image(world.log)
    guessed = Address(where.position, b"wrong cookie")
    beyond = Address(Position(1, 10_000), bytes(12))
    nowhere = Address(Position(60_000, 0), bytes(12))
    await world.append(*(encode(deleted_at(each)) for each in (guessed, beyond, nowhere)))
    feed, _ = await world.follow()
    assert feed.trouble is None
    for place in places:
        await world.log.read(IMAGES, place)


async def test_a_log_that_cannot_erase_is_left_alone(world):
    where, places = await append_image(world.log)
    world.log = core_of(world.log)
    await world.append(encode(deleted_at(where)))
    _, catalog = await world.follow()
    assert await catalog.is_deleted(str(where))
    for place in places:
        await world.log.read(IMAGES, place)


async def test_a_file_name_does_not_stay_in_the_files_of_the_catalog(client):
    answer = await client.post("/images", files={"file": ("face-of-a-friend.png", images.png())})
    folder = client.gateway.log.path.parent

    def named():
        return [each for each in folder.iterdir() if b"face-of-a-friend" in each.read_bytes()]

    assert len(named()) == 2
    assert (await client.delete(answer.json()["url"])).status_code == 204
    await until(lambda: not named())


def deleted_at(where):
    return type(deleted())(str(where))
