"""The topics and partitions of the embedded log, and the partition of each new record.

Hides the choice: by the CRC of the key, so that records of one key are in one partition.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.log import Record


class Partitions:
    """The number of partitions of each topic; a topic or partition beyond them is a mistake.

    Attributes:
        counts: By topic.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = counts

    def count(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        self.check(topic)
        return self.counts[topic]

    def check(self, topic: str, partition: int = 0) -> None:
        """Raise a ValueError unless the partition exists."""
        if topic not in self.counts:
            raise ValueError(f"unknown topic {topic}")
        if not self.has(topic, partition):
            raise ValueError(f"{topic} has no partition {partition}")

    def has(self, topic: str, partition: int) -> bool:
        """Tell whether a topic has a partition."""
        return 0 <= partition < self.counts.get(topic, 0)

    def place(self, topic: str, record: Record) -> int:
        """Return the partition for a record, its own if it names one."""
        self.check(topic, record.partition or 0)
        if record.partition is None:
            return zlib.crc32(record.key) % self.counts[topic]
        return record.partition
