"""Compaction of a topic, forced, and what the broker's files still hold of it."""

import asyncio

from tests.support import plain

# Those of a topic of keys, in seconds instead of a day.
QUICK = {
    "cleanup_policy": "compact",
    "message_timestamp_type": "LogAppendTime",
    "compression_type": "uncompressed",
    "segment_ms": 300,
    "max_compaction_lag_ms": 300,
    "min_cleanable_dirty_ratio": 0.01,
    "delete_retention_ms": 0,
    # Files that compaction has replaced stay under another name for a minute by default.
    "file_delete_delay_ms": 100,
}
_STEP_SECONDS = 0.3
_SECONDS = 60


def stored(broker, topic, partition=0):
    """Return all bytes of the files of a partition, those that are about to be deleted included."""
    folder = broker.data_dir / "logs" / f"{topic}-{partition}"
    found = []
    for path in sorted(folder.iterdir()):
        try:
            found.append(path.read_bytes())
        # The cleaner has renamed it: another look finds it, or that it is gone.
        except FileNotFoundError:
            return stored(broker, topic, partition)
    return b"\0".join(found)


async def compact_until(kafka, topic, is_done):
    """Have a topic compacted until an asynchronous condition holds.

    The segment that is written to is never compacted: small records have it closed, again and
    again.
    """
    await plain.alter(kafka, topic, **QUICK)
    async with asyncio.timeout(_SECONDS):
        while not await is_done():
            await plain.write(kafka, topic, (b"tick", None))
            await asyncio.sleep(_STEP_SECONDS)


async def shredded(kafka, topic, *needles):
    """Have a topic compacted until none of these bytes is in a file; they were in one before."""
    before = stored(kafka.broker, topic)
    assert all(each in before for each in needles)

    async def are_gone():
        now = stored(kafka.broker, topic)
        return not any(each in now for each in needles)

    await compact_until(kafka, topic, are_gone)
