"""The body of a batch as it comes, without a gateway: the memory that each image of it holds."""

import asyncio

import pytest
from starlette.requests import Request

from app.access.principal import ANYONE
from app.access.read_rule import ReadRule
from app.api.batch_body import BatchBody
from app.budget import ByteBudget
from app.ingest.intake import COPIES
from app.settings import Settings
from tests.support.facts import until
from tests.support.forms import HEADERS, file


@pytest.fixture
def budget():
    return ByteBudget(100_000_000, patience_seconds=0)


def body_of(*pieces):
    """A batch of which these pieces have come; no more comes."""
    settings, there = Settings.model_construct(), list(pieces)

    async def receive():
        while not there:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": there.pop(0), "more_body": True}

    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b""}
    request = Request(scope | {"state": {"principal": ANYONE}}, receive)
    rule = ReadRule(settings.access, None)
    return BatchBody(request, settings.http, settings.upload, settings.imaging, rule)


async def test_an_image_holds_memory_for_what_came_of_it_with_the_one_before(budget):
    body = body_of(file(b"first") + file(bytes(200_000))[:-10_000])
    first = body.next()
    reservation = await budget.reserve("192.0.2.1", 1, COPIES * first.max_bytes)
    await body.receive(first, reservation)
    reservation.release()
    assert body.may_have_more()
    second = body.next()
    reservation = await budget.reserve("192.0.2.1", 1, COPIES * second.max_bytes)
    receiving = asyncio.create_task(body.receive(second, reservation))
    await until(lambda: reservation.held_bytes > COPIES * 190_000)
    assert not receiving.done()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
