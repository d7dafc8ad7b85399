"""A log to take images out of: the embedded one in a data folder, or one on Kafka.

Hides that it is left as it is. Only its reading half is used, so that nothing is appended to it, no
letter and no deletion.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import ConfigurationError
from app.log.kafka.read_only import ReadOnlyKafkaLog
from app.log.sqlite.database import DATABASE_NAME
from app.log.sqlite.log import SqliteLog
from app.reader.options import KafkaOptions, kafka_settings
from app.records.signature import NO_SIGNATURES, Signatures

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from app.log import Batch, Bounds, Fetched, Position, ReadableLog

_BROKERS = re.compile(r"[^/\s,]+:[0-9]+(,[^/\s,]+:[0-9]+)*")


class ReadingHalf:
    """The half of `log` that reads."""

    def __init__(self, log: ReadableLog) -> None:
        self._log = log

    @property
    def identity(self) -> str:
        """The name that tells the log from every other."""
        return self._log.identity

    async def start(self) -> None:
        """Start the log."""
        await self._log.start()

    async def stop(self) -> None:
        """Stop the log."""
        await self._log.stop()

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of `topic`."""
        return self._log.partitions(topic)

    async def read(self, topic: str, position: Position) -> Fetched:
        """Read the record at one position; see `ReadableLog.read`."""
        return await self._log.read(topic, position)

    def tail(self, topic: str, partition: int, start: int) -> AsyncGenerator[Batch, None]:
        """Follow a partition from `start`; see `ReadableLog.tail`."""
        return self._log.tail(topic, partition, start)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """Return the bounds of a partition."""
        return await self._log.bounds(topic, partition)


@asynccontextmanager
async def opened_source(
    place: str, options: KafkaOptions
) -> AsyncGenerator[tuple[ReadableLog, Signatures], None]:
    """Provide a log that is only read, and the keys by which its records are judged.

    Args:
        place: A data folder, which is locked meanwhile, or `host:port` of one or more brokers.
        options: How to reach and read the log on Kafka.

    Raises:
        ConfigurationError: There is no log, or it cannot be read.
    """
    log, signatures = _source(place, options)
    await log.start()
    try:
        yield log, signatures
    finally:
        await log.stop()


def _source(place: str, options: KafkaOptions) -> tuple[ReadableLog, Signatures]:
    folder = Path(place)
    if folder.is_dir():
        if not (folder / DATABASE_NAME).is_file():
            raise ConfigurationError(f"There is no embedded log in {place}: no {DATABASE_NAME}.")
        if options:
            raise ConfigurationError(f"{place} holds an embedded log; --source-env is for brokers.")
        return ReadingHalf(SqliteLog(folder)), NO_SIGNATURES
    if not _BROKERS.fullmatch(place):
        raise ConfigurationError(f"{place} is neither a folder nor HOST:PORT of a broker.")
    kafka = kafka_settings(place, options)
    return ReadOnlyKafkaLog(kafka), Signatures(kafka.keys)
