"""What is right and wrong with the Kafka that the settings name.

Hides how it is asked: nothing is started, made or changed, unless missing topics are to be created.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest

from app.errors import ConfigurationError
from app.findings import Finding, Level, is_wrong
from app.log.kafka import permissions, rules, topics
from app.log.kafka.connections import administration, connection, until_connected

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiokafka.admin import AIOKafkaAdminClient

    from app.settings import KafkaSettings

_NEEDED = ("Read", "Write", "Describe", "DescribeConfigs")
# A broker on the same continent answers within a tenth of this.
_BROKER_SECONDS = 5.0
# To find a broker, and then for everything that is asked of all of them.
_PATIENCE_SECONDS = 10.0


async def examine(settings: KafkaSettings) -> list[Finding]:
    """Look at brokers, permissions and topics."""
    names = topics.names(settings.topic_prefix)
    client = AIOKafkaClient(**connection(settings, "doctor", int(_BROKER_SECONDS * 1000)))
    try:
        async with asyncio.timeout(min(settings.connect_timeout_seconds, _PATIENCE_SECONDS)):
            await until_connected(client.bootstrap)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = [each async for each in _brokers(client)]
            found += [each async for each in _permissions(client, names)]
            if not is_wrong(found):
                found += await examine_topics(settings, create=False)
    except TimeoutError:
        return [_nobody(settings)]
    finally:
        await client.close()
    return found


async def examine_topics(settings: KafkaSettings, *, create: bool) -> list[Finding]:
    """Look at the topics, after creating what is missing if that is asked for.

    Raises:
        ConfigurationError: No broker answers, or it refuses.
    """
    names = topics.names(settings.topic_prefix)
    try:
        async with asyncio.timeout(settings.connect_timeout_seconds):
            async with administration(settings) as admin:
                if create:
                    await topics.create_missing(admin, names, settings.partitions)
                return await _topics(admin, names)
    except TimeoutError as error:
        raise ConfigurationError(_nobody(settings).found + ".") from error
    except KafkaError as error:
        raise ConfigurationError(f"Kafka failed: {error!r}.") from error


def _nobody(settings: KafkaSettings) -> Finding:
    return Finding(
        Level.WRONG,
        "kafka",
        f"no broker answers at {settings.bootstrap_servers}",
        "start it, or mend IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS",
    )


async def _brokers(client: AIOKafkaClient) -> AsyncGenerator[Finding, None]:
    """Look whether each broker answers where it says that it is."""
    brokers = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
    for broker in brokers:
        where = f"broker {broker.nodeId}"
        address = f"{broker.host}:{broker.port}"
        try:
            await client.send(broker.nodeId, OffsetRequest(-1, 0, []))
        except (KafkaError, OSError, TimeoutError):
            yield Finding(
                Level.WRONG,
                where,
                f"says that it is at {address}, and does not answer there",
                "start it, or mend its advertised.listeners",
            )
        else:
            yield Finding(Level.OK, where, f"answers at {address}")


async def _permissions(
    client: AIOKafkaClient, names: dict[str, str]
) -> AsyncGenerator[Finding, None]:
    node = client.get_random_node()
    try:
        found = await permissions.ask(client, node, names.values())
    except (KafkaError, OSError, NotImplementedError) as error:
        yield Finding(
            Level.WARNING,
            "permissions",
            f"the broker does not say what is allowed ({type(error).__name__})",
            "use Kafka 2.3 or newer",
        )
        return
    for name in names.values():
        if name in found.hidden:
            yield _denied(name, _NEEDED)
        elif name in found.topics:
            allowed = found.topics[name]
            lacking = [each for each in _NEEDED if allowed is not None and each not in allowed]
            yield _denied(name, lacking) if lacking else _allowed(name)
        elif found.cluster is not None and "Create" not in found.cluster:
            yield Finding(
                Level.WARNING,
                name,
                "is missing, and may perhaps not be created",
                _grant(name, ["Create"]),
            )


def _allowed(name: str) -> Finding:
    return Finding(Level.OK, name, f"{', '.join(_NEEDED)} are allowed")


def _denied(name: str, lacking: list[str] | tuple[str, ...]) -> Finding:
    return Finding(Level.WRONG, name, f"{', '.join(lacking)} not allowed", _grant(name, lacking))


def _grant(name: str, operations: list[str] | tuple[str, ...]) -> str:
    options = " ".join(f"--operation {each}" for each in operations)
    return (
        f"kafka-acls.sh --bootstrap-server … --add --allow-principal User:… {options}"
        f" --topic {name}; look for a Deny rule too"
    )


async def _topics(admin: AIOKafkaAdminClient, names: dict[str, str]) -> list[Finding]:
    missing = await topics.find_missing(admin, names)
    found = [
        Finding(Level.WRONG, name, "is missing", "imagegate topics, or the first start, creates it")
        for name in missing.values()
    ]
    there = {role: name for role, name in names.items() if role not in missing}
    if there:
        for topic in (await topics.describe(admin, there)).values():
            found += [*rules.findings(topic), rules.in_sync(topic)]
    return found
