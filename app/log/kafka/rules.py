"""The rules for a topic, those it must and those it should follow, with reasons and remedies.

Sources: https://kafka.apache.org/documentation/#topicconfigs; the reasons beside each rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.log import EVENTS, IMAGES, KEYS, MAX_PARTITIONS
from app.log.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Below this a head record with its 8 KiB of metadata leaves little for the picture, and the list of
# an image's chunks, 27 KB at 200 MB, no longer fits the room that `records` leaves for headers.
MIN_MESSAGE_BYTES = 131_072
# With fewer replicas of an acknowledged record, a power failure can lose it.
SAFE_REPLICATION, SAFE_MIN_INSYNC = 3, 2

# The configuration that new topics get, and existing ones are compared with.
CONFIG: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    # The broker decompresses the records of other programs, so that its limit bounds memory here
    # too: 600 MB of zeros fit a compressed batch of 1 MiB.
    "compression.type": "uncompressed",
}
# The longest time from a deletion until no file of a broker that is up holds the image's key.
DAY_MS = 86_400_000
# Those of `image-keys`. A segment that is written to is never compacted: its age is limited. With
# the low ratio the cleaner does not wait until half of the bytes are new, or for the whole lag.
_KEYS_CONFIG: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "max.compaction.lag.ms": str(DAY_MS),
    "segment.ms": str(DAY_MS),
    "min.cleanable.dirty.ratio": "0.01",
    "message.timestamp.type": "LogAppendTime",
    "compression.type": "uncompressed",
}
# Kafka's own defaults, for entries that a broker does not show; some only speak the protocol.
DEFAULTS: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "1",
    "unclean.leader.election.enable": "false",
    "compression.type": "producer",
    "remote.storage.enable": "false",
    "local.retention.ms": "-2",
    "local.retention.bytes": "-2",
    "max.compaction.lag.ms": "9223372036854775807",
    "segment.ms": "604800000",
}
# With these values of `local.retention.…`, brokers keep what `retention.…` does, or everything
# (KIP-405): a retention of the images is -1 or removes them.
_KEPT_HERE = ("-2", "-1")
# A day: long enough for readers that follow the topics, and for the remote storage to be away.
_LOCAL_RETENTION_MS = "86400000"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is: name on the broker, partitions, replicas, effective configuration.

    `replication` and `in_sync` are those of the partition that has the fewest.
    """

    role: str
    name: str
    partitions: int
    replication: int
    in_sync: int
    config: Mapping[str, str]

    @property
    def max_message_bytes(self) -> int:
        """The largest batch that the broker accepts, its header included."""
        return int(self.config["max.message.bytes"])

    @property
    def min_insync(self) -> int:
        """The number of replicas that must have a record before it is acknowledged."""
        return int(self.config["min.insync.replicas"])

    @property
    def segment_ms(self) -> int:
        """How long a segment of a compacted topic is written to, if anything is written."""
        return min(int(self.config[name]) for name in ("segment.ms", "max.compaction.lag.ms"))

    @property
    def is_tiered(self) -> bool:
        """Whether segments are copied into a remote storage (KIP-405)."""
        return self.config["remote.storage.enable"] == "true"


def new_config(role: str) -> dict[str, str]:
    """Return the configuration of a new topic."""
    return dict(_KEYS_CONFIG if role == KEYS else CONFIG)


def findings(topic: Topic) -> Iterator[Finding]:
    """Yield the findings on a topic's partitions, replication and configuration."""
    yield _partitions(topic)
    yield _replication(topic)
    yield from _erasing(topic) if topic.role == KEYS else _keeping(topic)
    yield _setting(
        topic,
        "message.timestamp.type",
        Level.WRONG,
        "a client's clock that is ahead fails whole batches",
    )
    yield _limit(topic)
    yield _setting(
        topic,
        "unclean.leader.election.enable",
        Level.WARNING,
        "a replica that lacks acknowledged records may become the leader",
        "false",
    )
    yield _setting(
        topic,
        "compression.type",
        Level.WARNING,
        "the gateway decompresses the records of other programs in its memory",
    )


def _keeping(topic: Topic) -> Iterator[Finding]:
    """Yield the findings on what removes records of a topic that keeps them."""
    yield _setting(topic, "cleanup.policy", Level.WRONG, "compaction would remove records")
    for name in ("retention.ms", "retention.bytes"):
        yield _retention(topic, name)
    yield _tier(topic)


def _erasing(topic: Topic) -> Iterator[Finding]:
    """Yield the findings on what removes the keys of deleted images, and no others."""
    yield _setting(
        topic,
        "cleanup.policy",
        Level.WRONG,
        "without compaction the keys of deleted images stay, and with delete those of others go",
        "compact",
    )
    for name in ("max.compaction.lag.ms", "segment.ms"):
        yield _lag(topic, name)
    yield _setting(
        topic,
        "remote.storage.enable",
        Level.WRONG,
        "the remote storage would keep the keys of deleted images",
        "false",
    )


def _lag(topic: Topic, name: str) -> Finding:
    has = f"{name}={topic.config[name]}"
    if int(topic.config[name]) <= DAY_MS:
        return Finding(Level.OK, topic.name, has)
    return Finding(
        Level.WARNING,
        topic.name,
        f"{has} (the keys of deleted images stay in its files for longer than a day)",
        _command(topic, name, str(DAY_MS)),
    )


def _partitions(topic: Topic) -> Finding:
    has = f"{topic.partitions} partition{'s' if topic.partitions > 1 else ''}"
    if topic.role == IMAGES and topic.partitions > MAX_PARTITIONS:
        return Finding(
            Level.WRONG,
            topic.name,
            f"{has}; an id holds 16 bits of them",
            f"recreate it with {MAX_PARTITIONS} at most",
        )
    if topic.role != IMAGES and topic.partitions != 1:
        return Finding(
            Level.WRONG,
            topic.name,
            f"{has} and needs exactly one",
            "partitions cannot be removed: use another IMAGEGATE_KAFKA__TOPIC_PREFIX, or recreate"
            " all topics",
        )
    return Finding(Level.OK, topic.name, has)


def _replication(topic: Topic) -> Finding:
    has = f"replication {topic.replication} and min.insync.replicas {topic.min_insync}"
    if topic.min_insync > topic.replication:
        return Finding(
            Level.WRONG,
            topic.name,
            f"{has}: every append would fail",
            _command(topic, "min.insync.replicas", str(topic.replication)),
        )
    if topic.replication < SAFE_REPLICATION:
        return Finding(
            Level.WARNING,
            topic.name,
            f"{has}: a power failure can lose acknowledged records; {SAFE_REPLICATION} and"
            f" {SAFE_MIN_INSYNC} are safe",
            f"give it {SAFE_REPLICATION} replicas with kafka-reassign-partitions.sh, on"
            f" {SAFE_REPLICATION} brokers",
        )
    if topic.min_insync < SAFE_MIN_INSYNC:
        return Finding(
            Level.WARNING,
            topic.name,
            f"{has}: a power failure can lose acknowledged records; {SAFE_REPLICATION} and"
            f" {SAFE_MIN_INSYNC} are safe",
            _command(topic, "min.insync.replicas", str(SAFE_MIN_INSYNC)),
        )
    if topic.min_insync == topic.replication:
        return Finding(
            Level.WARNING,
            topic.name,
            f"{has}: nothing can be stored while one broker is away",
            _command(topic, "min.insync.replicas", str(topic.replication - 1)),
        )
    return Finding(Level.OK, topic.name, has)


def in_sync(topic: Topic) -> Finding:
    """Return the finding on the replicas that are in sync now."""
    has = f"at least {topic.in_sync} of {topic.replication} replicas in sync"
    if topic.in_sync < topic.min_insync:
        return Finding(
            Level.WRONG,
            topic.name,
            f"{has}: appends to some partitions fail now",
            "start the brokers that are down, and look at their logs",
        )
    if topic.in_sync < topic.replication:
        return Finding(
            Level.WARNING, topic.name, has, "look for a broker that is down or far behind"
        )
    return Finding(Level.OK, topic.name, has)


def _retention(topic: Topic, name: str) -> Finding:
    if topic.role == EVENTS:
        return _setting(topic, name, Level.WRONG, "the catalog is rebuilt from the events")
    if topic.role == IMAGES:
        reason = "images leave the log by themselves"
        if topic.is_tiered:
            reason += f", and the remote storage; how long brokers keep them is local.{name}"
        return _setting(topic, name, Level.WARNING, reason)
    return Finding(Level.OK, topic.name, f"{name}={topic.config[name]}")


def _tier(topic: Topic) -> Finding:
    if not topic.is_tiered:
        return Finding(Level.OK, topic.name, "not tiered: every segment is on the brokers' disks")
    names = ("local.retention.ms", "local.retention.bytes")
    has = "tiered: " + " and ".join(f"{name}={topic.config[name]}" for name in names)
    if all(topic.config[name] in _KEPT_HERE for name in names):
        return Finding(
            Level.WARNING,
            topic.name,
            f"{has} (brokers keep what is in the remote storage as well)",
            _command(topic, names[0], _LOCAL_RETENTION_MS),
        )
    # One request for each MiB of events, one after another.
    rebuilt = " (a catalog is rebuilt from the remote storage)" if topic.role == EVENTS else ""
    return Finding(Level.OK, topic.name, f"{has}{rebuilt}")


def _limit(topic: Topic) -> Finding:
    has = f"max.message.bytes={topic.max_message_bytes}"
    if topic.max_message_bytes < MIN_MESSAGE_BYTES:
        return Finding(
            Level.WRONG,
            topic.name,
            f"{has}, which does not fit ({MIN_MESSAGE_BYTES} is the minimum)",
            _command(topic, "max.message.bytes", DEFAULTS["max.message.bytes"]),
        )
    return Finding(Level.OK, topic.name, has)


def _setting(topic: Topic, name: str, level: Level, reason: str, wanted: str = "") -> Finding:
    wanted = wanted or CONFIG[name]
    has = f"{name}={topic.config[name]}"
    if topic.config[name] == wanted:
        return Finding(Level.OK, topic.name, has)
    if level is Level.WRONG:
        has = f"{has}, which does not fit"
    return Finding(level, topic.name, f"{has} ({reason})", _command(topic, name, wanted))


def _command(topic: Topic, name: str, value: str) -> str:
    return (
        f"kafka-configs.sh --bootstrap-server … --alter --topic {topic.name}"
        f" --add-config {name}={value}"
    )
