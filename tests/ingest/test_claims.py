"""Uploads by a link: one after another, and never more than it allows."""

import asyncio
import time

import pytest

from app.errors import (
    LinkExpiredError,
    LinkUsedError,
    NotWrittenError,
    OutcomeUnknownError,
)
from app.ingest import claims
from app.log import EVENTS, IMAGES
from app.records.claim import Claim
from tests.support.facts import until
from tests.support.way_in import Client, way_in


def claim(uses=1, expires_in=600):
    return Claim("A" * 16, uses, int(time.time()) + expires_in)


def storing(way, client):
    return asyncio.create_task(way.ingest.store(client))


async def test_the_second_of_two_at_once_is_refused_and_nothing_of_it_is_written(way):
    way.faults.may.clear()
    tasks = [storing(way, Client(claim=claim())) for _ in range(2)]
    await until(lambda: way.faults.appended)
    way.faults.may.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(isinstance(each, LinkUsedError) for each in found) == [False, True]
    assert [topic for topic, _ in way.faults.appended] == [IMAGES, EVENTS]
    assert way.held_bytes == 0


async def test_a_client_that_leaves_while_its_image_is_published_has_used_the_link(way):
    way.faults.may.clear()
    first = storing(way, Client(claim=claim()))
    await until(lambda: way.faults.appended)
    second = storing(way, Client(claim=claim()))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    way.faults.may.set()
    with pytest.raises(LinkUsedError):
        await second
    assert len(await way.listed()) == 1
    assert way.held_bytes == 0


@pytest.mark.parametrize("topic", [IMAGES, EVENTS])
async def test_an_image_that_was_not_written_leaves_the_use_to_the_next(way, topic):
    way.faults.errors[topic] = [NotWrittenError("The broker is away.")]
    with pytest.raises(NotWrittenError):
        await way.ingest.store(Client(claim=claim()))
    assert (await way.ingest.store(Client(claim=claim()))).listed is not None
    with pytest.raises(LinkUsedError):
        await way.ingest.store(client := Client(claim=claim()))
    assert not client.received
    assert way.held_bytes == 0


async def test_what_is_not_applied_in_time_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "_APPLY_SECONDS", 0.01)
    async with way_in(tmp_path, monkeypatch) as way:

        async def never(_events, _progress):
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(way.catalog, "apply", never)
            with pytest.raises(OutcomeUnknownError, match="not known yet"):
                await way.ingest.store(Client(claim=claim()))
        assert way.held_bytes == 0


async def test_an_upload_has_an_hour_from_the_end_of_its_link(way):
    stored = await way.ingest.store(Client(claim=claim(expires_in=-3_500)))
    assert stored.listed is not None
    with pytest.raises(LinkExpiredError):
        await way.ingest.store(Client(claim=Claim("B" * 16, 1, int(time.time()) - 3_600)))
    assert way.held_bytes == 0
