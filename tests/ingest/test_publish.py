"""The promise of an answer, and when the memory of an upload is free again."""

import asyncio

import pytest

from app.errors import CatalogDamagedError, NotWrittenError, OutcomeUnknownError
from app.ingest.ingest import COPIES
from app.log import EVENTS, IMAGES
from tests.support.facts import until
from tests.support.way_in import PNG, Client


def settling():
    """A future that a log resolves once it has let go of the records, and how to resolve it."""
    settled = asyncio.get_running_loop().create_future()
    return settled, lambda: settled.set_result(None)


async def test_an_image_is_answered_though_the_catalog_is_damaged(way, monkeypatch):
    async def damaged(_image_id):
        raise CatalogDamagedError("The catalog is damaged.")

    monkeypatch.setattr(way.catalog, "image", damaged)
    monkeypatch.setattr(way.feed, "listed", lambda _image_id: None)
    answer = await way.ingest.store(Client())
    assert answer.listed is None
    monkeypatch.undo()
    assert await way.listed() == [answer.image_id]


async def test_a_stored_image_is_listed_and_its_memory_is_free(way):
    answer = await way.ingest.store(Client())
    assert await way.listed() == [answer.image_id] == [answer.listed.id]
    assert answer.listed.sequence == 0
    assert way.faults.appended == [(IMAGES, 1), (EVENTS, 1)]
    assert way.held_bytes == 0


async def test_chunks_go_first_then_the_head_then_the_event(chunked_way):
    await chunked_way.ingest.store(Client())
    assert chunked_way.faults.appended == [(IMAGES, 5), (IMAGES, 1), (EVENTS, 1)]


async def test_what_was_not_written_is_not_written(way):
    way.faults.errors[IMAGES] = [NotWrittenError("The broker is away.")]
    with pytest.raises(NotWrittenError):
        await way.ingest.store(Client())
    assert way.faults.appended == [(IMAGES, 1)]
    assert await way.listed() == []
    assert way.held_bytes == 0


async def test_a_head_without_an_answer_is_unknown_and_never_announced(way):
    settled, settle = settling()
    way.faults.errors[IMAGES] = [OutcomeUnknownError("No answer.", (), settled)]
    with pytest.raises(OutcomeUnknownError):
        await way.ingest.store(Client())
    assert way.faults.appended == [(IMAGES, 1)]
    assert way.held_bytes == COPIES * len(PNG)
    settle()
    await until(lambda: way.held_bytes == 0)


async def test_lost_chunks_mean_that_nothing_was_stored(chunked_way):
    way, (settled, settle) = chunked_way, settling()
    way.faults.errors[IMAGES] = [OutcomeUnknownError("No answer.", (), settled)]
    with pytest.raises(NotWrittenError):
        await way.ingest.store(Client())
    assert way.faults.appended == [(IMAGES, 5)]
    assert await way.listed() == []
    assert way.held_bytes == COPIES * len(PNG)
    settle()
    await until(lambda: way.held_bytes == 0)


async def test_an_event_that_was_not_written_leaves_no_image(way):
    way.faults.errors[EVENTS] = [NotWrittenError("The broker is away.")]
    with pytest.raises(NotWrittenError):
        await way.ingest.store(Client())
    assert await way.listed() == []
    assert way.held_bytes == 0


async def test_an_event_without_an_answer_is_unknown(way):
    settled, settle = settling()
    way.faults.errors[EVENTS] = [OutcomeUnknownError("No answer.", (), settled)]
    with pytest.raises(OutcomeUnknownError):
        await way.ingest.store(Client())
    assert way.held_bytes == COPIES * len(PNG)
    settle()
    await until(lambda: way.held_bytes == 0)


@pytest.mark.parametrize("error", [NotWrittenError("x"), OutcomeUnknownError("x")])
async def test_a_log_that_holds_nothing_any_longer_frees_the_memory_at_once(way, error):
    way.faults.errors[IMAGES] = [error]
    with pytest.raises(type(error)):
        await way.ingest.store(Client())
    assert way.held_bytes == 0


async def test_a_mistake_of_our_own_frees_the_memory(way):
    way.faults.errors[IMAGES] = [ValueError("our own")]
    with pytest.raises(ValueError, match="our own"):
        await way.ingest.store(Client())
    assert way.held_bytes == 0


async def test_an_image_is_answered_though_the_feed_lags(way, monkeypatch):
    applying = asyncio.Event()

    async def lag(*_):
        applying.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(way.catalog, "apply", lag)
    answer = await way.ingest.store(Client())
    assert answer.listed is None
    assert applying.is_set()


class TestPairs:
    """Where the log can append the head and the event in one step."""

    async def test_an_image_and_its_event_are_one_step(self, pairing_way):
        answer = await pairing_way.ingest.store(Client())
        assert await pairing_way.listed() == [answer.image_id] == [answer.listed.id]
        assert pairing_way.faults.appended == []
        assert pairing_way.held_bytes == 0

    async def test_what_is_not_acknowledged_is_unknown_and_holds_its_memory(
        self, pairing_way, monkeypatch
    ):
        way, (settled, settle) = pairing_way, settling()

        async def unanswered(*_):
            raise OutcomeUnknownError("No answer.", (), settled)

        monkeypatch.setattr(way.log, "append_pair", unanswered)
        with pytest.raises(OutcomeUnknownError):
            await way.ingest.store(Client())
        assert way.held_bytes == COPIES * len(PNG)
        settle()
        await until(lambda: way.held_bytes == 0)

    async def test_a_listed_image_is_known_from_memory_as_the_catalog_has_it(
        self, pairing_way, monkeypatch
    ):
        found = await pairing_way.ingest.store(Client())
        monkeypatch.setattr(pairing_way.feed, "listed", lambda _image_id: None)
        assert found.listed == await pairing_way.catalog.image(found.image_id)
        read = await pairing_way.ingest.store(Client())
        assert read.listed == await pairing_way.catalog.image(read.image_id)
