"""Fixtures of tests that leave the gateway as they find it, and so can share one."""

import pytest_asyncio

from tests.support.in_process import in_process
from tests.support.pictures import store


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_client(tmp_path_factory):
    """One gateway for the whole module, as its start is slow."""
    async with in_process(tmp_path_factory.mktemp("gateway")) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def picture(shared_client):
    return await store(shared_client)
