"""The embedded log in a folder of the test's."""

from contextlib import AsyncExitStack

import pytest

from app.log.sqlite.log import SqliteLog


@pytest.fixture
async def open_log(tmp_path):
    """Open logs in one folder; they are stopped when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(**options):
            log = SqliteLog(tmp_path / "data", **options)
            stack.push_async_callback(log.stop)
            await log.start()
            return log

        yield start
