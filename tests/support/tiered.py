"""A broker with tiered storage (KIP-405): a folder stands for the object storage.

Hides the broker's options, the configuration of tiered topics, and where their segments are. The
remote storage is `LocalTieredStorage`, which Apache Kafka's own tests use.
"""

import os
from contextlib import contextmanager
from pathlib import Path

from tests.support import plain
from tests.support.gateway_process import until

# Between copies of segments, and between removals: by default 30 s and 5 min.
_BEAT_MS = "200"
# How long the broker waits for the remote storage before its answer has no records: 500 ms.
_PATIENCE_MS = "100"
# Segments leave the broker's disk, the active one too, as soon as they are copied. A segment has
# 1 MiB, Kafka 4's minimum.
TIERED = plain.FITTING | {
    "remote_storage_enable": "true",
    "local_retention_ms": 1,
    "segment_bytes": 1_048_576,
    "file_delete_delay_ms": 0,
}


def properties(remote):
    """Return the broker's options for a remote storage in this folder."""
    return {
        "remote.log.storage.system.enable": "true",
        "remote.log.storage.manager.class.name": (
            "org.apache.kafka.server.log.remote.storage.LocalTieredStorage"
        ),
        "rsm.config.dir": str(remote),
        "remote.log.metadata.manager.listener.name": "PLAINTEXT",
        "rlmm.config.remote.log.metadata.topic.replication.factor": "1",
        "rlmm.config.remote.log.metadata.topic.num.partitions": "1",
        "remote.log.manager.task.interval.ms": _BEAT_MS,
        "remote.fetch.max.wait.ms": _PATIENCE_MS,
        "log.retention.check.interval.ms": _BEAT_MS,
        "log.initial.task.delay.ms": _BEAT_MS,
    }


class TieredBroker:
    """A started broker, and the folder of its remote storage."""

    def __init__(self, broker, remote):
        self.bootstrap_servers = broker.bootstrap_servers
        self._pid = broker.pid
        self._logs = broker.data_dir / "logs"
        self._remote = remote

    def await_remote_alone(self, topic, partition=0):
        """Return once every record of a partition is in the remote storage alone."""
        local = self._logs / f"{topic}-{partition}"
        until(lambda: [path.stat().st_size for path in local.glob("*.log")] == [0])
        assert self._copies(topic, partition)

    @contextmanager
    def stalled(self, topic, partition=0):
        """Let no read of a partition's segments in the remote storage end."""
        kept = {path: path.with_suffix(".kept") for path in self._copies(topic, partition)}
        for path, file in kept.items():
            path.rename(file)
            # open(2) waits until another process opens the other end.
            os.mkfifo(path)
        try:
            yield
        finally:
            for path, file in kept.items():
                other_end = os.open(path, os.O_RDWR)
                file.replace(path)
                os.close(other_end)

    def stalled_reads(self):
        """Count the broker's threads that wait in open(2) for another process (proc(5))."""
        threads = Path(f"/proc/{self._pid}/task").glob("*/wchan")
        return sum(thread.read_text() == "wait_for_partner" for thread in threads)

    def _copies(self, topic, partition):
        return sorted(self._remote.glob(f"*/{topic}-{partition}-*/*.log"))
