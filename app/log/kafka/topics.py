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
    from collections.abc import Container, Iterable, Mapping

    from app.log.kafka.settings import KafkaSettings

logger = structlog.get_logger(__name__)

# The metadata of every broker lists a new topic within this time, or something is wrong.
_CREATION_STEPS, _CREATION_STEP_SECONDS = 100, 0.1
# A broker does not list a topic on which it allows nothing.
_HIDDEN = (
    " Allow Create on it; or, if it exists, Read and Write, as long as there are none it is hidden."
)


def names(prefix: str) -> dict[str, str]:
    """Return the name of each role's topic on the broker."""
    return {role: f"{prefix}{role}" for role in (IMAGES, EVENTS, REJECTS, KEYS)}


def optional(settings: KafkaSettings) -> frozenset[str]:
    """Return the roles whose topics may be missing, and are used where they exist."""
    return frozenset() if settings.erasure == "shred" else frozenset({KEYS})


def identity(cluster_id: str, names: Mapping[str, str]) -> str:
    """Return the identity of a log: the cluster's id and the topic of the events."""
    return f"kafka:{cluster_id}:{names[EVENTS]}"


async def prepare(
    admin: AIOKafkaAdminClient,
    names: Mapping[str, str],
    image_partitions: int,
    optional: Container[str] = (),
) -> dict[str, Topic]:
    """Create the missing topics and check all of them.

    Args:
        admin: A started client.
        names: The name on the broker for each role (`images`, `image-events`, …).
        optional: The roles that are created by others alone.
        image_partitions: Partitions of `images`, should it be created.

    Returns:
        The topics by role.

    Raises:
        ConfigurationError: A topic exists and does not fit, or cannot be created.
        KafkaError: The broker failed.
    """
    lacking = await create_missing(admin, names, image_partitions, optional)
    topics = await _fitting(admin, without(names, lacking))
    _warn(topics.values())
    return topics


async def inspect(
    admin: AIOKafkaAdminClient, names: Mapping[str, str], optional: Container[str] = ()
) -> dict[str, Topic]:
    """Return the topics by role, without creating any.

    Raises:
        ConfigurationError: One does not fit, or is missing, unless it is `optional`.
        KafkaError: The broker failed.
    """
    missing = await find_missing(admin, names)
    if required := without(missing, optional):
        raise ConfigurationError(f"There is no topic {' and no topic '.join(required.values())}.")
    return await _fitting(admin, without(names, missing))


async def readable(admin: AIOKafkaAdminClient, names: Mapping[str, str]) -> dict[str, int]:
    """Return the number of partitions of each topic, by role, for a client that only reads.

    Raises:
        ConfigurationError: A topic other than that of the keys is missing, or one may not be read.
        KafkaError: The broker failed.
    """
    missing = await find_missing(admin, names)
    asked = without(names, {KEYS} & missing.keys())
    await permissions.require(admin._client, asked.values(), permissions.NEEDED_TO_READ)
    if required := without(missing, {KEYS}):
        raise ConfigurationError(
            f"There is no topic {' and no topic '.join(required.values())}. A gateway creates them."
            " If yours have a prefix, set IMAGEGATE_KAFKA__TOPIC_PREFIX."
        )
    described = await _settled_metadata(admin, list(asked.values()))
    return {role: len(described[name]["partitions"]) for role, name in asked.items()}


def without(names: Mapping[str, str], roles: Container[str]) -> dict[str, str]:
    """Return the names of the other roles."""
    return {role: name for role, name in names.items() if role not in roles}


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
    admin: AIOKafkaAdminClient,
    names: Mapping[str, str],
    image_partitions: int,
    optional: Container[str] = (),
) -> set[str]:
    """Create the missing topics, with the broker's default replication.

    Returns:
        The `optional` roles whose topics are missing; they are not created.

    Raises:
        ConfigurationError: Kafka refuses.
        KafkaError: The broker failed.
    """
    missing = await find_missing(admin, names)
    lacking = {role for role in missing if role in optional}
    if missing.keys() == lacking:
        return lacking
    # A replication factor of -1 is the broker's default (KIP-464); without the empty assignment
    # aiokafka refuses it.
    requested = [
        NewTopic(name, image_partitions if role == IMAGES else 1, -1, {}, rules.new_config(role))
        for role, name in without(missing, lacking).items()
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
    return lacking


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
