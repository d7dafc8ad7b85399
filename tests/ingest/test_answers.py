"""Answers to clients while the log fails or the feed lags, through the front door."""

import asyncio
import itertools

from app.api.schemas import path_of
from app.errors import LogUnavailableError, NotWrittenError, OutcomeUnknownError
from app.log import EVENTS, IMAGES
from tests.support import images
from tests.support.in_process import problem
from tests.support.way_in import Faults


async def test_a_log_that_fails_is_never_a_500(gateways, monkeypatch):
    client = await gateways(delivery={"cache_bytes": 0})
    faults = Faults(client.gateway.log, monkeypatch)
    away, lost = NotWrittenError("The broker is away."), OutcomeUnknownError("No answer.")
    cases = itertools.product((IMAGES, EVENTS), (away, lost))
    for topic, error in cases:
        faults.errors[topic] = [error]
        response = await client.post("/images", content=images.jpeg())
        if error is away:
            body = problem(response, 503, "not-written")
            assert int(response.headers["retry-after"]) > 0
            assert "outcome" not in body
        else:
            body = problem(response, 504, "outcome-unknown")
            assert body["outcome"] == "unknown"
            assert "retry-after" not in response.headers
        assert body["retryable"] is True
        assert "location" not in response.headers
    assert (await client.get("/images")).json()["images"] == []
    stored = await client.post("/images", content=images.jpeg())
    assert stored.status_code == 201

    url = path_of(stored.json()["id"])
    faults.errors[EVENTS] = [away, lost]
    problem(await client.delete(url), 503, "not-written")
    assert problem(await client.delete(url), 504, "outcome-unknown")["outcome"] == "unknown"
    assert (await client.get(url)).status_code == 200

    async def unavailable(*_):
        raise LogUnavailableError("The broker is away.")

    with monkeypatch.context() as patched:
        patched.setattr(client.gateway.log, "read", unavailable)
        response = await client.get(url)
        problem(response, 503, "log-unavailable")
        assert int(response.headers["retry-after"]) > 0
    assert (await client.get(url)).status_code == 200


async def test_an_upload_is_answered_before_the_catalog_knows_it(client, monkeypatch):
    apply, may = client.gateway.catalog.apply, asyncio.Event()

    async def lag(*arguments):
        await may.wait()
        await apply(*arguments)

    monkeypatch.setattr(client.gateway.catalog, "apply", lag)
    response = await client.post("/images", content=images.jpeg())
    assert response.status_code == 201
    early = response.json()
    assert (early["sequence"], early["created_at"]) == (None, None)
    assert (await client.get(early["url"])).status_code == 200
    caught_up, asked = client.gateway.feed.caught_up, asyncio.Event()

    async def ask():
        asked.set()
        await caught_up()

    monkeypatch.setattr(client.gateway.feed, "caught_up", ask)
    describing = asyncio.create_task(client.get(f"{early['url']}/metadata"))
    await asyncio.wait_for(asked.wait(), 10)
    may.set()
    later = (await describing).json()
    assert later == early | {name: later[name] for name in ("sequence", "created_at")}
    assert later["sequence"] == 0
