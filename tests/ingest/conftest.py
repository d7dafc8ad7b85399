"""The way in, on a log that stores an image in one record, and on a log of small records."""

import pytest

from app.records import chunk_list
from tests.support.way_in import way_in


@pytest.fixture
async def way(tmp_path, monkeypatch):
    async with way_in(tmp_path, monkeypatch) as way:
        yield way


@pytest.fixture
async def chunked_way(tmp_path, monkeypatch):
    """Records are so small that the picture has a head and five chunks."""
    monkeypatch.setattr(chunk_list, "MIN_CHUNK_BYTES", 1)
    async with way_in(tmp_path, monkeypatch, max_record_bytes=32_768 + 900) as way:
        yield way


@pytest.fixture
async def pairing_way(tmp_path, monkeypatch):
    """The log appends the head and the event of an image in one step."""
    async with way_in(tmp_path, monkeypatch, pairs=True) as way:
        yield way
