"""A log, a catalog and a feed, and nothing else."""

import pytest

from tests.support.world import World


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    await made.new_log()
    yield made
    await made.close()
