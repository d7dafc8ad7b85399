"""The operations that this client is allowed, as the broker's metadata lists them (KIP-430).

Hides version 8 of the Metadata request, which aiokafka does not have.

Source: https://kafka.apache.org/protocol#The_Messages_Metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from app.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.client import AIOKafkaClient

# What the gateway does with each topic. Read and Write include Describe.
NEEDED = ("Read", "Write", "DescribeConfigs")
# What a reader beside the gateways does.
NEEDED_TO_READ = ("Read",)
# The codes of AclOperation, which are the numbers of the bits.
_OPERATIONS = {3: "Read", 4: "Write", 5: "Create", 8: "Describe", 10: "DescribeConfigs"}
# The answer of a broker without access control: it does not say, and everything is allowed.
_UNKNOWN = -(2**31)
_AUTHORIZATION_FAILED = 29


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka is not typed
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class(self._topics, False, True, True)


@dataclass(frozen=True, slots=True)
class Permissions:
    """Allowed operations, on the cluster and on each topic; None where the broker does not say.

    A topic that is missing or hidden has no entry in `topics`.
    """

    cluster: frozenset[str] | None
    topics: dict[str, frozenset[str] | None]
    hidden: frozenset[str]

    def lacking(self, topic: str, needed: tuple[str, ...] = NEEDED) -> tuple[str, ...]:
        """Return the needed operations that are not allowed on a topic, as far as is known."""
        if topic in self.hidden:
            return needed
        allowed = self.topics.get(topic)
        return tuple(each for each in needed if allowed is not None and each not in allowed)


async def ask(client: AIOKafkaClient, node: int, topics: Iterable[str]) -> Permissions:
    """Request from a broker what this client is allowed.

    Raises:
        KafkaError, NotImplementedError: The broker does not answer, or is older than Kafka 2.3.
    """
    response = await client.send(node, _MetadataRequest(list(topics)))
    return Permissions(
        cluster=_operations(response.authorized_operations),
        topics={name: _operations(bits) for code, name, _, _, bits in response.topics if not code},
        hidden=frozenset(
            name for code, name, *_ in response.topics if code == _AUTHORIZATION_FAILED
        ),
    )


async def require(
    client: AIOKafkaClient, topics: Iterable[str], needed: tuple[str, ...] = NEEDED
) -> None:
    """Check that everything needed is allowed on topics; older brokers do not tell.

    Raises:
        ConfigurationError: Something is not.
        KafkaError: The broker does not answer.
    """
    try:
        found = await ask(client, client.get_random_node(), topics)
    except NotImplementedError:
        return
    if lacking := {name: each for name in topics if (each := found.lacking(name, needed))}:
        said = "; ".join(f"{', '.join(each)} on {name}" for name, each in lacking.items())
        commands = "; ".join(grant(name, each) for name, each in lacking.items())
        raise ConfigurationError(f"Kafka does not allow {said}. Remedy: {commands}.")


def grant(topic: str, operations: Iterable[str]) -> str:
    """Return the command that allows operations on a topic."""
    options = " ".join(f"--operation {each}" for each in operations)
    return (
        f"kafka-acls.sh --bootstrap-server … --add --allow-principal User:… {options}"
        f" --topic {topic}; look for a Deny rule too"
    )


def _operations(bits: int) -> frozenset[str] | None:
    if bits == _UNKNOWN:
        return None
    return frozenset(name for code, name in _OPERATIONS.items() if bits >> code & 1)
