"""The brokers' log cleaner, which compacts topics.

Hides the request for the brokers' own configuration, and that a gateway may well not see it: it
needs DescribeConfigs on the cluster, which nothing else here does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.log.findings import Finding, Level

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

_SWITCH = "log.cleaner.enable"


async def examine(admin: AIOKafkaAdminClient) -> list[Finding]:
    """Return a finding on each broker that compacts nothing, as far as they tell."""
    try:
        cluster = await admin.describe_cluster()
        answers = await admin.describe_configs(
            [
                ConfigResource(ConfigResourceType.BROKER, str(each["node_id"]))
                for each in cluster["brokers"]
            ]
        )
    except (KafkaError, OSError):
        # Whether the brokers answer is another finding.
        return []
    return [
        Finding(
            Level.WRONG,
            f"broker {node}",
            f"{_SWITCH}=false: the keys of deleted images stay in its files for ever",
            "remove it from its server.properties, and restart it",
        )
        for answer in answers
        for code, _, _, node, entries in answer.resources
        if not code and any((entry[0], entry[1]) == (_SWITCH, "false") for entry in entries)
    ]
