"""The topics that the gateway needs: made when missing, checked when there.

Hides topic configuration. What does not fit is a `ConfigurationError` at start with the command
that mends it, so that it is not a failed upload, or a lost one, later.

Sources: https://kafka.apache.org/documentation/#topicconfigs; the reasons beside each check.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, for_code

from app.errors import ConfigurationError
from app.log import EVENTS, IMAGES, MAX_PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

logger = structlog.get_logger(__name__)

# Below this a head record with its 8 KiB of metadata leaves little for the picture, and the list of
# an image's chunks, 27 KB at 200 MB, no longer fits the room that `records` leaves for headers.
MIN_MESSAGE_BYTES = 131_072
# How many replicas hold an acknowledged record at least, for a power failure not to lose it.
SAFE_REPLICATION, SAFE_MIN_INSYNC = 3, 2
# A new topic shows up in the metadata of every broker within this time, or something is wrong.
_CREATION_STEPS, _CREATION_STEP_SECONDS = 100, 0.1

_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    # What others write compressed is unpacked by the broker, so that its limit is one for memory
    # here too: 600 MB of zeros fit a batch of 1 MiB.
    "compression.type": "uncompressed",
}
# What holds where a broker shows an entry not at all, as some that only speak the protocol do:
# Kafka's own defaults.
_DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "1",
}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is: name on the broker, partitions, replicas, effective configuration."""

    role: str
    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]

    @property
    def max_message_bytes(self) -> int:
        """The largest batch that the broker takes, its header included."""
        return int(self.config["max.message.bytes"])


async def prepare(
    admin: AIOKafkaAdminClient, names: Mapping[str, str], image_partitions: int
) -> dict[str, Topic]:
    """Create the missing topics and check all of them.

    Args:
        admin: A started client.
        names: The name on the broker for each role (`images`, `image-events`, …).
        image_partitions: Partitions of `images`, should it be created.

    Returns:
        The topics by role.

    Raises:
        ConfigurationError: A topic exists and does not fit, or cannot be created.
        KafkaError: The broker failed.
    """
    existing = set(await admin.list_topics())
    missing = {role: name for role, name in names.items() if name not in existing}
    if missing:
        await _create(admin, missing, image_partitions)
    topics = await _fitting(admin, names)
    _warn(topics.values())
    return topics


async def inspect(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, Topic]:
    """Return the topics by role, as they are.

    Raises:
        ConfigurationError: One does not fit, or is not there.
        KafkaError: The broker failed.
    """
    existing = set(await admin.list_topics())
    if missing := [name for name in names.values() if name not in existing]:
        raise ConfigurationError(f"There is no topic {' and no topic '.join(missing)}.")
    return await _fitting(admin, names)


async def _fitting(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, Topic]:
    topics = await _describe(admin, names)
    problems = [problem for topic in topics.values() for problem in _problems(topic)]
    if problems:
        raise ConfigurationError(" ".join(problems))
    return topics


async def _create(
    admin: AIOKafkaAdminClient, missing: Mapping[str, str], image_partitions: int
) -> None:
    # A replication factor of -1 is the broker's default (KIP-464); without the empty assignment
    # aiokafka refuses it.
    requested = [
        NewTopic(name, image_partitions if role == IMAGES else 1, -1, {}, _CONFIG)
        for role, name in missing.items()
    ]
    response = await admin.create_topics(requested)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another replica of the gateway may have been quicker.
        if error not in (NoError, TopicAlreadyExistsError):
            raise ConfigurationError(
                f"The topic {name} is missing and Kafka refuses to create it"
                f" ({error.__name__}: {message[0] if message else ''})."
            )
        if error is NoError:
            logger.info("kafka_topic_created", topic=name)


async def _describe(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, Topic]:
    described = await _settled_metadata(admin, list(names.values()))
    configs = await _configs(admin, list(names.values()))
    return {
        role: Topic(
            role,
            name,
            partitions=len(described[name]["partitions"]),
            replication=min(len(each["replicas"]) for each in described[name]["partitions"]),
            config=configs[name],
        )
        for role, name in names.items()
    }


async def _settled_metadata(
    admin: AIOKafkaAdminClient, names: list[str]
) -> dict[str, dict[str, Any]]:
    """Return the metadata of the topics once a broker knows all of them, leaders included."""
    for _ in range(_CREATION_STEPS):
        described = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
        if all(
            not described[name]["error_code"]
            and all(each["leader"] >= 0 for each in described[name]["partitions"])
            for name in names
        ):
            return described
        await asyncio.sleep(_CREATION_STEP_SECONDS)
    raise KafkaError(f"no leaders for {names}")


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code:
                raise ConfigurationError(
                    f"Kafka does not show the configuration of {name}"
                    f" ({for_code(code).__name__}: {message}); allow DescribeConfigs on it."
                )
            configs[name] = _DEFAULTS | {entry[0]: entry[1] for entry in entries}
    return configs


def _problems(topic: Topic) -> Iterator[str]:
    config = topic.config
    if topic.role == IMAGES and topic.partitions > MAX_PARTITIONS:
        yield f"{topic.name} has {topic.partitions} partitions; an id holds 16 bits of them."
    if topic.role == EVENTS and topic.partitions != 1:
        yield f"{topic.name} has {topic.partitions} partitions and needs exactly one."
    if config["cleanup.policy"] != "delete":
        yield _mend(topic, "cleanup.policy", "delete", "compaction would remove records")
    if config["message.timestamp.type"] != "LogAppendTime":
        yield _mend(
            topic, "message.timestamp.type", "LogAppendTime", "a clock ahead fails whole batches"
        )
    if topic.role == EVENTS:
        for name in ("retention.ms", "retention.bytes"):
            if config[name] != "-1":
                yield _mend(topic, name, "-1", "events are what the catalog is rebuilt from")
    if topic.max_message_bytes < MIN_MESSAGE_BYTES:
        yield _mend(topic, "max.message.bytes", "1048588", f"{MIN_MESSAGE_BYTES} is the minimum")
    if int(config["min.insync.replicas"]) > topic.replication:
        yield _mend(
            topic,
            "min.insync.replicas",
            str(topic.replication),
            f"it has {topic.replication} replicas, so every append would fail",
        )


def _mend(topic: Topic, name: str, value: str, reason: str) -> str:
    return (
        f"{topic.name} has {name}={topic.config[name]}, which does not fit ({reason}):"
        f" kafka-configs --alter --topic {topic.name} --add-config {name}={value} mends it."
    )


def _warn(topics: Iterable[Topic]) -> None:
    """Log each warning once, with the topics that it is about."""
    warned: dict[str, list[str]] = defaultdict(list)
    for topic in topics:
        for warning in _warnings(topic):
            warned[warning].append(topic.name)
    for warning, affected in warned.items():
        logger.warning("kafka_topics", warning=warning, topics=affected)


def _warnings(topic: Topic) -> Iterator[str]:
    min_insync = int(topic.config["min.insync.replicas"])
    if topic.replication < SAFE_REPLICATION or min_insync < SAFE_MIN_INSYNC:
        yield (
            f"replication {topic.replication} and min.insync.replicas {min_insync}: a power failure"
            f" can lose acknowledged records; {SAFE_REPLICATION} and {SAFE_MIN_INSYNC} are safe"
        )
    if topic.role == IMAGES:
        for name in ("retention.ms", "retention.bytes"):
            if topic.config[name] != "-1":
                yield f"{name}={topic.config[name]}: images leave the log by themselves"
