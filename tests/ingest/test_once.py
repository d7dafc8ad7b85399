"""Uploads with an idempotency key: one image, whatever becomes of the first try."""

import asyncio

import pytest

from app.errors import (
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    ImageGoneError,
    InvalidImageError,
    LinkUsedError,
    NotWrittenError,
    OutcomeUnknownError,
)
from app.events.event import ImageDeleted, encode
from app.log import EVENTS, IMAGES
from app.records.claim import Claim
from tests.support.facts import TOKEN, until
from tests.support.way_in import PNG, Client

CLAIM = Claim("A" * 16, 1, expires_at=2_000_000_000)


def client(data=PNG, **options):
    return Client(data, token=TOKEN, **options)


def storing(way, source):
    return asyncio.create_task(way.ingest.store(source))


async def test_those_at_once_wait_for_the_first_and_are_answered_with_its_image(way):
    way.faults.may.clear()
    clients = [client() for _ in range(20)]
    tasks = [storing(way, each) for each in clients]
    await until(lambda: way.faults.appended)
    # Those that wait have sent nothing yet, and hold no memory.
    assert sum(each.received for each in clients) == 1
    way.faults.may.set()
    answers = await asyncio.gather(*tasks)
    assert [each.is_replayed for each in answers] == [False] + [True] * 19
    assert {(each.image_id, each.info, each.listed) for each in answers} == {
        (answers[0].image_id, answers[0].info, answers[0].listed)
    }
    assert [topic for topic, _ in way.faults.appended] == [IMAGES, EVENTS]
    assert way.held_bytes == 0


async def test_one_that_waits_for_too_long_is_told_so_and_the_first_is_stored(way):
    way.once._wait_seconds = 0.01
    way.faults.may.clear()
    first, second = storing(way, client()), client()
    await until(lambda: way.faults.appended)
    with pytest.raises(IdempotencyKeyInUseError):
        await way.ingest.store(second)
    assert not second.received
    way.faults.may.set()
    stored = await first
    assert (await way.ingest.store(client())).image_id == stored.image_id
    assert way.held_bytes == 0


async def test_another_upload_under_the_key_is_refused_and_another_key_is_not(way):
    await way.ingest.store(client())
    with pytest.raises(IdempotencyKeyReusedError):
        await way.ingest.store(client(PNG + b"more"))
    await way.ingest.store(Client(PNG + b"more", token=TOKEN[::-1]))
    assert len(await way.listed()) == 2
    assert way.held_bytes == 0


@pytest.mark.parametrize("topic", [IMAGES, EVENTS])
async def test_what_was_certainly_not_written_leaves_the_key_to_the_next_upload(way, topic):
    way.faults.errors[topic] = [NotWrittenError("The broker is away.")]
    with pytest.raises(NotWrittenError):
        await way.ingest.store(client())
    stored = await way.ingest.store(client(PNG + b"other"))
    assert not stored.is_replayed
    assert await way.listed() == [stored.image_id]


async def test_a_refused_image_leaves_the_key_to_the_next_upload(way):
    way.pool.error = InvalidImageError("Truncated.")
    with pytest.raises(InvalidImageError):
        await way.ingest.store(client())
    way.pool.error = None
    assert not (await way.ingest.store(client(PNG + b"whole"))).is_replayed


async def test_a_client_that_leaves_while_its_body_is_awaited_leaves_the_key(way):
    first = client(error=ConnectionError("the client has left"))
    with pytest.raises(ConnectionError):
        await way.ingest.store(first)
    assert not (await way.ingest.store(client())).is_replayed


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
async def test_an_unknown_outcome_is_known_once_it_is_sent_again(way, stored, monkeypatch):
    append = way.log.append

    async def silent(topic, records, deadline=None):
        if topic == EVENTS:
            if stored:
                await append(topic, records, deadline)
            raise OutcomeUnknownError("No acknowledgement came.")
        return await append(topic, records, deadline)

    with monkeypatch.context() as patch:
        patch.setattr(way.log, "append", silent)
        with pytest.raises(OutcomeUnknownError):
            await way.ingest.store(client())
    await way.feed.caught_up()
    again = await way.ingest.store(client())
    assert again.is_replayed is stored
    assert await way.listed() == [again.image_id]
    assert (await way.ingest.store(client())).image_id == again.image_id


async def test_an_event_that_comes_after_all_behind_that_of_the_next_try_is_of_no_image(
    way, monkeypatch
):
    append, late = way.log.append, []

    async def losing(topic, records, deadline=None):
        if topic == EVENTS and not late:
            late.extend(records)
            raise OutcomeUnknownError("No acknowledgement came.")
        return await append(topic, records, deadline)

    monkeypatch.setattr(way.log, "append", losing)
    with pytest.raises(OutcomeUnknownError):
        await way.ingest.store(client())
    again = await way.ingest.store(client())
    assert not again.is_replayed
    await append(EVENTS, late)
    assert await way.listed() == [again.image_id]
    [lost] = await way.catalog.lost(10)
    assert lost.image_id == late[0].key.decode()


async def test_one_that_loses_in_the_log_is_answered_with_the_image_that_won(way, monkeypatch):
    won, holder = await way.ingest.store(client()), way.catalog.holder_of

    async def not_known_yet(_token):
        return None

    # As on another gateway, whose catalog lags behind.
    with monkeypatch.context() as patch:
        patch.setattr(way.catalog, "holder_of", not_known_yet)
        lost = await way.ingest.store(client())
        with pytest.raises(IdempotencyKeyReusedError):
            await way.ingest.store(client(PNG + b"other"))
    assert (lost.image_id, lost.listed, lost.is_replayed) == (won.image_id, won.listed, True)
    assert await way.listed() == [won.image_id]
    assert (await holder(TOKEN)).image_id == won.image_id
    assert way.held_bytes == 0


async def test_what_is_not_applied_in_time_is_unknown_and_then_known(way, monkeypatch):
    way.once._apply_seconds = 0.01
    apply, may = way.catalog.apply, asyncio.Event()

    async def slow(*arguments):
        await may.wait()
        await apply(*arguments)

    monkeypatch.setattr(way.catalog, "apply", slow)
    with pytest.raises(OutcomeUnknownError, match="not known yet"):
        await way.ingest.store(client())
    may.set()
    await way.feed.caught_up()
    assert (await way.ingest.store(client())).is_replayed


async def test_a_deleted_image_is_never_answered_as_stored(way):
    stored = await way.ingest.store(client())
    await way.log.append(EVENTS, [encode(ImageDeleted(stored.image_id))])
    await way.feed.caught_up()
    with pytest.raises(ImageGoneError, match="another key"):
        await way.ingest.store(client())
    assert await way.listed() == []
    assert way.held_bytes == 0


async def test_a_retry_uses_its_link_once(way):
    first = await way.ingest.store(client(claim=CLAIM))
    again = await way.ingest.store(client(claim=CLAIM))
    assert (again.image_id, again.is_replayed) == (first.image_id, True)
    with pytest.raises(LinkUsedError):
        await way.ingest.store(Client(claim=CLAIM, token=TOKEN[::-1]))


async def test_a_link_used_up_by_the_first_try_on_another_gateway_is_no_refusal(way, monkeypatch):
    first, holder_of = await way.ingest.store(client(claim=CLAIM)), way.catalog.holder_of
    found, left = [None, None], way.claims.require_left

    async def known_later(token):
        return found.pop() if found else await holder_of(token)

    async def left_at_first(use):
        monkeypatch.setattr(way.claims, "require_left", left)

    monkeypatch.setattr(way.catalog, "holder_of", known_later)
    monkeypatch.setattr(way.claims, "require_left", left_at_first)
    again = await way.ingest.store(client(claim=CLAIM))
    assert (again.image_id, again.is_replayed) == (first.image_id, True)
    assert way.held_bytes == 0
