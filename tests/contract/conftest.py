"""The two engines behind one harness: the contract says what, an engine here says how."""

import asyncio
import sqlite3
import uuid
from contextlib import AsyncExitStack

import pytest

from app.log import IMAGES, Position, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.rules import Topic
from app.log.kafka.settings import KafkaSettings
from app.log.sqlite.log import SqliteLog

PARTITIONS = 3


class SqliteEngine:
    """A folder; its writer is stalled by another connection that holds the write lock."""

    def __init__(self, folder):
        self.folder = folder

    def new_log(self, append_timeout_seconds=15.0, read_timeout_seconds=None):
        """Make a log; one that is read from a file needs no bound for reads."""
        return SqliteLog(
            self.folder,
            image_partitions=PARTITIONS,
            append_timeout_seconds=append_timeout_seconds,
        )

    async def stall(self, log):
        self.blocker = sqlite3.connect(log.path, isolation_level=None)
        self.blocker.execute("BEGIN IMMEDIATE")

    async def resume(self):
        self.blocker.rollback()
        self.blocker.close()

    async def erasable(self, log):
        return IMAGES

    async def pass_time(self, log, topic):
        pass


class KafkaEngine:
    """Topics of its own on the session's broker, which is paused to stall it."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.prefix = f"contract-{uuid.uuid4().hex[:8]}-"

    def new_log(self, append_timeout_seconds=15.0, read_timeout_seconds=10.0):
        return KafkaLog(
            KafkaSettings(
                bootstrap_servers=self.kafka.bootstrap_servers,
                topic_prefix=self.prefix,
                partitions=PARTITIONS,
                append_timeout_seconds=append_timeout_seconds,
                read_timeout_seconds=read_timeout_seconds,
            )
        )

    async def stall(self, log):
        if self.kafka.broker is None:
            pytest.skip("the broker at TEST_KAFKA is not ours to pause")
        self.kafka.broker.pause()

    async def resume(self):
        self.kafka.broker.resume()

    async def erasable(self, log):
        """Make a compacted topic, as Kafka erases by compaction alone."""
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: PLC0415

        name = f"{self.prefix}compacted"
        config = {
            "cleanup.policy": "compact",
            "segment.ms": "500",
            "max.compaction.lag.ms": "500",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": "0",
        }
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=config)])
        await admin.close()
        log._names["compacted"] = name
        log._topics["compacted"] = Topic(
            "compacted",
            name,
            1,
            1,
            1,
            config
            | {
                "max.message.bytes": "1048588",
            },
        )
        await log._client.set_topics(log._names.values())
        return "compacted"

    async def pass_time(self, log, topic):
        """Roll the active segment, which the cleaner never touches."""
        await log.append(topic, [Record(uuid.uuid4().hex.encode(), b"roll")])


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
    """The same for what the in-memory broker cannot imitate: faults, limits, deletion."""
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


async def until(condition, timeout_seconds=30):
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(timeout_seconds):
        while not await condition():
            await asyncio.sleep(0.02)


def at(partition, offset):
    return Position(partition, offset)
