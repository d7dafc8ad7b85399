"""Fixtures of tests that leave the gateway as they find it, and so can share one."""

import itertools

import pytest
import pytest_asyncio

from app.api import denials
from app.telemetry.tally import Tally
from tests.support.in_process import in_process
from tests.support.pictures import store


@pytest.fixture(autouse=True)
def every_line(monkeypatch):
    """Log each refusal, also where there are several within a second."""
    for name in ("_refused", "_denied"):
        monkeypatch.setattr(denials, name, Tally(itertools.count(0.0, 2.0).__next__))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_client(tmp_path_factory):
    """One gateway for the whole module, as its start is slow."""
    async with in_process(tmp_path_factory.mktemp("gateway")) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def picture(shared_client):
    return await store(shared_client)
