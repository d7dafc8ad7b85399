"""Fixtures that every group of tests uses."""

from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
import structlog

from app import settings
from app.main import create_app
from tests.support.described import checked_async

pytest_plugins = ["tests.support.kafka_fixtures"]

# As `telemetry.configure` does, which would take the handlers of pytest away. Unless configured,
# structlog draws every variable of a traceback: ten seconds for a 500.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
)


@asynccontextmanager
async def in_process(data_dir, **sections):
    """Run a gateway in this process, on the embedded log; yields a client of it.

    The parts of the gateway are at `client.gateway`. A response arrives whole, so streams are
    tested against a process: see tests/process/.
    """
    sections = {"imaging": {"workers": 1}} | sections
    app = create_app(settings.load(data_dir=data_dir, **sections))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", event_hooks=checked_async()
        ) as client:
            client.gateway = app.state.gateway
            await client.gateway.feed.caught_up()
            yield client


@pytest.fixture
async def gateways(tmp_path):
    """Start gateways on a folder of the test's: `await gateways(upload={"max_bytes": 5000})`."""
    async with AsyncExitStack() as stack:

        async def start(data_dir=tmp_path / "data", **sections):
            return await stack.enter_async_context(in_process(data_dir, **sections))

        yield start


@pytest.fixture
async def client(gateways):
    """A client of a gateway with the default settings."""
    return await gateways()
