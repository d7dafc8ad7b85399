"""Fixtures of the tests of encrypted images, on both engines."""

from contextlib import AsyncExitStack

import pytest

from tests.support.in_process import in_process
from tests.support.kafka_logs import new_prefix


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def start(request, tmp_path):
    """Start gateways on one log: `await start(sealing={"keys": …})`; on another folder by name.

    The embedded log is another gateway's only once that has stopped: `await start.stop()`.
    """
    options = {}
    if request.param == "kafka":
        kafka = request.getfixturevalue("kafka")
        options = {
            "bootstrap_servers": kafka.bootstrap_servers,
            "topic_prefix": new_prefix(),
            "partitions": 3,
        }
    async with AsyncExitStack() as stack:
        yield Starter(stack, tmp_path, options)


@pytest.fixture
async def shredding(request, tmp_path):
    """Start gateways on one Kafka that erase images by their keys; see `start`."""
    kafka = request.getfixturevalue("kafka")
    options = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": new_prefix(),
        "partitions": 3,
        "erasure": "shred",
    }
    async with AsyncExitStack() as stack:
        yield Starter(stack, tmp_path, options)


class Starter:
    """Starts gateways in this process, and stops them."""

    def __init__(self, stack, folder, kafka):
        self._stack = stack
        self._folder = folder
        self._kafka = kafka

    @property
    def kafka(self):
        """The section of the settings."""
        return self._kafka

    @property
    def is_on_kafka(self):
        return bool(self._kafka)

    async def __call__(self, name="data", kafka=None, **sections):
        log = {"kafka": self._kafka | (kafka or {})} if self._kafka or kafka else {}
        client = in_process(self._folder / name, **log, **sections)
        return await self._stack.enter_async_context(client)

    async def stop(self):
        await self._stack.aclose()

    def forget_catalog(self, name="data"):
        for each in (self._folder / name).glob("catalog.db*"):
            each.unlink()
