"""The topics that the gateway needs: created when missing, checked when they exist.

Hides the requests to the brokers. A broken rule of `rules` is a `ConfigurationError` at start with
the command that corrects it, and not a failed or lost upload later.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from app.errors import ConfigurationError
from app.log import EVENTS, IMAGES, KEYS, REJECTS
from app.log.findings import Level
from app.log.kafka import permissions, rules
from app.log.kafka.rules import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = structlog.get_logger(__name__)

# The metadata of every broker lists a new topic within this time, or something is wrong.
_CREATION_STEPS, _CREATION_STEP_SECONDS = 100, 0.1
# A broker does not list a topic on which it allows nothing.
_HIDDEN = (
    " Allow Create on it; or, if it exists, Read and Write, as long as there are none it is hidden."
)


def names(prefix: str, *, shreds: bool = False) -> dict[str, str]:
    """Return the name on the broker of each role's topic that has to be there.

    Args:
        prefix: The beginning of each name.
        shreds: Whether new images are to be erased by their keys.
    """
    roles = (IMAGES, EVENTS, REJECTS, KEYS) if shreds else (IMAGES, EVENTS, REJECTS)
    return {role: f"{prefix}{role}" for role in roles}


async def with_keys(
    admin: AIOKafkaAdminClient, names: Mapping[str, str], prefix: str
) -> dict[str, str]:
    """Return the names, and that of the topic of keys where another gateway has created it."""
    keys = {KEYS: f"{prefix}{KEYS}"}
    return {**names} if await find_missing(admin, keys) else {**names, **keys}


def identity(cluster_id: str, names: Mapping[str, str]) -> str:
    """Return the identity of a log: the cluster's id and the topic of the events."""
    return f"kafka:{cluster_id}:{names[EVENTS]}"


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
    await create_missing(admin, names, image_partitions)
    topics = await _fitting(admin, names)
    _warn(topics.values())
    return topics


async def inspect(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, Topic]:
    """Return the topics by role, without creating any.

    Raises:
        ConfigurationError: One does not fit, or is missing.
        KafkaError: The broker failed.
    """
    if missing := await find_missing(admin, names):
        raise ConfigurationError(f"There is no topic {' and no topic '.join(missing.values())}.")
    return await _fitting(admin, names)


async def readable(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, int]:
    """Return the number of partitions of each topic, by role, for a client that only reads.

    Raises:
        ConfigurationError: A topic is missing, or may not be read.
        KafkaError: The broker failed.
    """
    await permissions.require(admin._client, names.values(), permissions.NEEDED_TO_READ)
    if missing := await find_missing(admin, names):
        raise ConfigurationError(
            f"There is no topic {' and no topic '.join(missing.values())}. A gateway creates them."
            " If yours have a prefix, set IMAGEGATE_KAFKA__TOPIC_PREFIX."
        )
    described = await _settled_metadata(admin, list(names.values()))
    return {role: len(described[name]["partitions"]) for role, name in names.items()}


async def _fitting(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, Topic]:
    await permissions.require(admin._client, names.values())
    topics = await describe(admin, names)
    wrong = [
        f"{finding.subject} has {finding.found}. Remedy: {finding.remedy}"
        for topic in topics.values()
        for finding in rules.findings(topic)
        if finding.level is Level.WRONG
    ]
    if wrong:
        raise ConfigurationError("; ".join(wrong) + ".")
    return topics


async def find_missing(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, str]:
    """Return the roles and names whose topics are missing."""
    existing = set(await admin.list_topics())
    return {role: name for role, name in names.items() if name not in existing}


async def create_missing(
    admin: AIOKafkaAdminClient, names: Mapping[str, str], image_partitions: int
) -> None:
    """Create the missing topics, with the broker's default replication.

    Raises:
        ConfigurationError: Kafka refuses.
        KafkaError: The broker failed.
    """
    missing = await find_missing(admin, names)
    if not missing:
        return
    # A replication factor of -1 is the broker's default (KIP-464); without the empty assignment
    # aiokafka refuses it.
    requested = [
        NewTopic(
            name, image_partitions if role == IMAGES else 1, -1, {}, dict(rules.config_of(role))
        )
        for role, name in missing.items()
    ]
    response = await admin.create_topics(requested)
    for name, code, *message in response.topic_errors:
        error = for_code(code)
        # Another replica of the gateway may have created it first.
        if error not in (NoError, TopicAlreadyExistsError):
            raise ConfigurationError(
                f"The topic {name} is missing and Kafka refuses to create it"
                f" ({error.__name__}: {message[0] if message else ''})."
                + (_HIDDEN if error is TopicAuthorizationFailedError else "")
            )
        if error is NoError:
            logger.info("kafka_topic_created", topic=name)


async def describe(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, Topic]:
    """Return the topics by role; all of them must exist.

    Raises:
        ConfigurationError: Kafka does not show the configuration.
        KafkaError: The broker failed.
    """
    described = await _settled_metadata(admin, list(names.values()))
    configs = await _settled_configs(admin, list(names.values()))
    return {
        role: Topic(
            role,
            name,
            partitions=len(described[name]["partitions"]),
            replication=min(len(each["replicas"]) for each in described[name]["partitions"]),
            in_sync=min(len(each["isr"]) for each in described[name]["partitions"]),
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
    led = [
        name
        for name, topic in described.items()
        if all(each["leader"] >= 0 for each in topic["partitions"])
    ]
    raise KafkaError(f"no leader for a partition of {', '.join(set(names) - set(led))}")


async def _settled_configs(
    admin: AIOKafkaAdminClient, names: list[str]
) -> dict[str, dict[str, str]]:
    """Return the configurations once the broker that answers knows every topic.

    It may be another one than the broker that gave the metadata (seen on three nodes).
    """
    for _ in range(_CREATION_STEPS):
        with suppress(UnknownTopicOrPartitionError):
            return await _configs(admin, names)
        await asyncio.sleep(_CREATION_STEP_SECONDS)
    raise KafkaError(f"no broker shows the configuration of all of {', '.join(names)}")


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            error = for_code(code)
            if error is UnknownTopicOrPartitionError:
                raise error(name)
            if error is not NoError:
                raise ConfigurationError(
                    f"Kafka does not show the configuration of {name}"
                    f" ({error.__name__}: {message}); allow DescribeConfigs on it."
                )
            configs[name] = {**rules.DEFAULTS} | {entry[0]: entry[1] for entry in entries}
    return configs


def _warn(topics: Iterable[Topic]) -> None:
    """Log each warning once, with the topics that it is about."""
    warned: dict[str, list[str]] = defaultdict(list)
    for topic in topics:
        for finding in rules.findings(topic):
            if finding.level is Level.WARNING:
                warned[finding.found].append(topic.name)
    for warning, affected in warned.items():
        logger.warning("kafka_topics_unsafe", warning=warning, topics=affected)
