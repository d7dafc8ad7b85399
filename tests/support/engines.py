"""The two engines of the log, and how a test stalls each, erases in it and lets time pass."""

import asyncio
import sqlite3
import uuid

import pytest

from app.log import EVENTS, IMAGES, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from app.log.sqlite.log import SqliteLog
from tests.support import plain

PARTITIONS = 3
# The cleaner looks at segments that are not active, as soon as there is anything to remove.
COMPACTED = {
    "cleanup_policy": "compact",
    "segment_ms": 500,
    "max_compaction_lag_ms": 500,
    "min_cleanable_dirty_ratio": 0.01,
    "delete_retention_ms": 0,
}


class SqliteEngine:
    """A folder; its writer is stalled by another connection that holds the write lock."""

    def __init__(self, folder):
        self.folder = folder

    def new_log(self, append_timeout_seconds=15.0, read_timeout_seconds=None, erasure=None):
        """Make a log; one that is read from a file needs no bound for reads, and always erases."""
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

    async def erase(self, log, record):
        """Erase a record of `images`."""
        await log.erase(IMAGES, [record.position])

    async def pass_time(self, log):
        pass


class KafkaEngine:
    """Topics of its own on the session's broker, which is paused to stall it."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.prefix = f"contract-{uuid.uuid4().hex[:8]}-"

    def new_log(self, append_timeout_seconds=15.0, read_timeout_seconds=10.0, erasure="retention"):
        return KafkaLog(
            KafkaSettings(
                bootstrap_servers=self.kafka.bootstrap_servers,
                topic_prefix=self.prefix,
                partitions=PARTITIONS,
                append_timeout_seconds=append_timeout_seconds,
                read_timeout_seconds=read_timeout_seconds,
                erasure=erasure,
            )
        )

    async def stall(self, log):
        if self.kafka.broker is None:
            pytest.skip("the broker at TEST_KAFKA is not ours to pause")
        self.kafka.broker.pause()

    async def resume(self):
        self.kafka.broker.resume()

    async def erase(self, log, record):
        """Append a tombstone, and have the topic compacted: Kafka erases in no other way."""
        await plain.alter(self.kafka, f"{self.prefix}{IMAGES}", **plain.FITTING | COMPACTED)
        await log.append(IMAGES, [Record(record.key, None, partition=record.position.partition)])

    async def pass_time(self, log):
        """Roll the active segment of partition 0, which the cleaner never compacts."""
        await log.append(IMAGES, [Record(uuid.uuid4().hex.encode(), b"roll", partition=0)])


async def take(log, count, topic=EVENTS, partition=0, start=0):
    """Read so many records from a tail, and check the next offset of each batch."""
    records = []
    tail = log.tail(topic, partition, start)
    async with asyncio.timeout(30):
        async for batch in tail:
            assert all(record.position.offset < batch.next_offset for record in batch.records)
            records += batch.records
            if len(records) >= count:
                break
    await tail.aclose()
    return records


async def until_async(condition, timeout_seconds=30):
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(timeout_seconds):
        while not await condition():
            await asyncio.sleep(0.02)
