"""Fixtures of the contract: a test that requests one runs on both engines."""

from contextlib import AsyncExitStack

import pytest

from tests.support.engines import KafkaEngine, SqliteEngine


@pytest.fixture(
    params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)],
)
def engine(request, tmp_path):
    if request.param == "sqlite":
        return SqliteEngine(tmp_path)
    return KafkaEngine(request.getfixturevalue("kafka"))


@pytest.fixture(
    params=["sqlite", pytest.param("kafka", marks=pytest.mark.apache_kafka)],
)
def real_engine(request, tmp_path):
    """An engine for what the in-memory broker cannot imitate: faults, limits, deletion."""
    if request.param == "sqlite":
        return SqliteEngine(tmp_path)
    return KafkaEngine(request.getfixturevalue("kafka"))


@pytest.fixture
async def opened():
    """Open logs that are stopped when the test ends: `await opened(engine)`."""
    async with AsyncExitStack() as stack:

        async def start(engine, **overrides):
            log = engine.new_log(**overrides)
            await log.start()
            stack.push_async_callback(log.stop)
            return log

        yield start
