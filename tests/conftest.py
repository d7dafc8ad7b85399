"""Fixtures that every group of tests uses."""

from contextlib import AsyncExitStack

import pytest
import structlog
from PIL import Image

from app.records import chunk_list
from tests.support.in_process import in_process

pytest_plugins = [
    "tests.support.kafka_fixtures",
    "tests.support.secured",
    "tests.support.groups",
]

# As the gateway's own configuration, which would remove pytest's handlers. Unless configured,
# structlog draws every variable of a traceback: ten seconds for a 500.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
)


@pytest.fixture(autouse=True)
def pixels_of_pillow(monkeypatch):
    """Undo Pillow's limit after a test: decoding sets it, for the process, to that of the image."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture
def tiny_chunks(monkeypatch):
    """Have chunks read that are smaller than any gateway writes."""
    monkeypatch.setattr(chunk_list, "MIN_CHUNK_BYTES", 1)


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
