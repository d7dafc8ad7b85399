"""The examination of the Kafka that the settings name.

Hides the requests for it: nothing is started or changed, unless missing topics are to be created.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest

from app.errors import ConfigurationError
from app.log import KEYS
from app.log.findings import MISSING, Finding, Level
from app.log.kafka import cleaner, permissions, rules, topics, transport
from app.log.kafka.connections import Connections
from app.log.kafka.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Container

    from aiokafka.admin import AIOKafkaAdminClient

    from app.log.kafka.settings import KafkaSettings

# A broker on the same continent answers within a tenth of this.
_BROKER_SECONDS = 5.0
# Bound for finding a broker, and then for each request.
_PATIENCE_SECONDS = 15.0


async def examine(settings: KafkaSettings, connections: Connections) -> list[Finding]:
    """Examine brokers, permissions and topics."""
    transport.install()
    names, optional = topics.names(settings.topic_prefix), topics.optional(settings)
    client = AIOKafkaClient(**connections.options("doctor", int(_BROKER_SECONDS * 1000)))
    try:
        async with asyncio.timeout(min(settings.connect_timeout_seconds, _PATIENCE_SECONDS)):
            await connections.until_connected(client.bootstrap)
    except TimeoutError:
        await client.close()
        return [_no_broker(settings)]
    except RefusedError as error:
        await client.close()
        return [Finding(Level.WRONG, "kafka", error.found, error.remedy)]
    try:
        brokers = await _brokers(client, connections)
        answering = [node for node, finding in brokers.items() if finding.level is Level.OK]
        found = list(brokers.values())
        if answering:
            found += await _permissions(client, answering[0], names, optional)
    finally:
        await client.close()
    if any(finding.level is Level.WRONG for finding in found):
        return found
    try:
        return found + await examine_topics(settings, create=False, missing=Level.WARNING)
    except ConfigurationError as error:
        said = error.detail.removesuffix(".")
        return [*found, Finding(Level.WRONG, "topics", said, "look at the brokers' logs")]


async def examine_topics(
    settings: KafkaSettings, *, create: bool, missing: Level = Level.WRONG
) -> list[Finding]:
    """Examine the topics, after creating the missing ones on request.

    Args:
        settings: Where the topics are, and their prefix.
        create: Whether to create those that are missing.
        missing: The level of a finding about a topic that is missing all the same.

    Raises:
        ConfigurationError: No broker answers, or it refuses.
    """
    transport.install()
    names, optional = topics.names(settings.topic_prefix), topics.optional(settings)
    try:
        async with asyncio.timeout(settings.connect_timeout_seconds):
            async with Connections(settings).administration() as admin:
                if not create:
                    return await _topics(admin, names, optional, missing)
                partitions = settings.partitions
                lacking = await topics.create_missing(admin, names, partitions, optional)
                # A broker may not list a new topic yet: describing waits for it.
                return await _described(admin, topics.without(names, lacking))
    except TimeoutError as error:
        raise ConfigurationError(
            f"The brokers at {settings.bootstrap_servers} do not answer requests about topics."
        ) from error
    except KafkaError as error:
        raise ConfigurationError(f"Kafka failed: {error!r}.") from error


def _no_broker(settings: KafkaSettings) -> Finding:
    return Finding(
        Level.WRONG,
        "kafka",
        f"no broker answers at {settings.bootstrap_servers}",
        "start it, or correct IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS",
    )


async def _brokers(client: AIOKafkaClient, connections: Connections) -> dict[int, Finding]:
    """Examine whether each broker answers at the address that it advertises."""
    brokers = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
    found = await asyncio.gather(*(_broker(client, connections, broker) for broker in brokers))
    return {broker.nodeId: finding for broker, finding in zip(brokers, found, strict=True)}


async def _broker(client: AIOKafkaClient, connections: Connections, broker: Any) -> Finding:
    where, address = f"broker {broker.nodeId}", f"{broker.host}:{broker.port}"
    try:
        await client.send(broker.nodeId, OffsetRequest(-1, 0, []))
    except (KafkaError, OSError, TimeoutError):
        if (refusal := await connections.refusal_at(broker.host, broker.port)) is not None:
            return Finding(Level.WRONG, where, refusal.found, refusal.remedy)
        return Finding(
            Level.WRONG,
            where,
            f"advertises {address}, and does not answer there",
            "start it, or correct its advertised.listeners",
        )
    return Finding(Level.OK, where, f"answers at {address}")


async def _permissions(
    client: AIOKafkaClient, node: int, names: dict[str, str], optional: Container[str]
) -> list[Finding]:
    try:
        found = await permissions.ask(client, node, names.values())
    except (KafkaError, OSError, NotImplementedError) as error:
        said = f"the broker does not say what is allowed ({type(error).__name__})"
        return [Finding(Level.WARNING, "permissions", said, "use Kafka 2.3 or newer")]
    examined = [
        name for role, name in names.items() if role not in optional or name in found.topics
    ]
    return [finding for name in examined if (finding := _permission(name, found)) is not None]


def _permission(name: str, found: permissions.Permissions) -> Finding | None:
    if lacking := found.lacking(name):
        said = f"{', '.join(lacking)} not allowed"
        return Finding(Level.WRONG, name, said, permissions.grant(name, lacking))
    if name in found.topics:
        return Finding(Level.OK, name, f"{', '.join(permissions.NEEDED)} are allowed")
    if found.cluster is not None and "Create" not in found.cluster:
        said = "is missing, and Create is perhaps not allowed"
        return Finding(Level.WARNING, name, said, permissions.grant(name, ["Create"]))
    return None


async def _topics(
    admin: AIOKafkaAdminClient, names: dict[str, str], optional: Container[str], missing: Level
) -> list[Finding]:
    lacking = await topics.find_missing(admin, names)
    found = [
        Finding(missing, name, MISSING, "imagegate topics, or the first start, creates it")
        for name in topics.without(lacking, optional).values()
    ]
    existing = topics.without(names, lacking)
    return found + (await _described(admin, existing) if existing else [])


async def _described(admin: AIOKafkaAdminClient, names: dict[str, str]) -> list[Finding]:
    found = []
    for topic in (await topics.describe(admin, names)).values():
        found += [*rules.findings(topic), rules.in_sync(topic)]
    return found + (await cleaner.examine(admin) if KEYS in names else [])
