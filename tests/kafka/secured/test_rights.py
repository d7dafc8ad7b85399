"""The rights of docs/kafka.md are enough, and with one right less the gateway says which."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from app.errors import ConfigurationError, NotWrittenError, OutcomeUnknownError
from app.log import EVENTS, IMAGES, KEYS, REJECTS, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from tests.support import plain
from tests.support.kafka_logs import new_prefix
from tests.support.plain import FITTING
from tests.support.secured import LIMITED

pytestmark = pytest.mark.apache_kafka

# https://kafka.apache.org/protocol, and org.apache.kafka.common.acl.AclOperation.
TOPIC, LITERAL, ALLOW, ANY_HOST = 2, 3, 3, "*"
CODES = {"Read": 3, "Write": 4, "Create": 5, "DescribeConfigs": 10}
ROLES = (IMAGES, EVENTS, REJECTS, KEYS)
RIGHTS = ("Read", "Write", "DescribeConfigs")
NEEDED = [(right, role) for role in ROLES for right in RIGHTS]
SECONDS = 30
COMPACTED = FITTING | {"cleanup_policy": "compact"}
PAGE = Path(__file__).parents[3] / "docs/kafka.md"


async def allow(secured, topic, right):
    # Of a user that may do nothing else.
    request = CreateAclsRequest(
        TOPIC, topic, LITERAL, f"User:{LIMITED}", ANY_HOST, CODES[right], ALLOW
    )
    async with plain.admin(secured) as admin:
        response = await admin._send_request(request)
    assert [code for code, *_ in response.creation_responses] == [0]


async def take(secured, topic, right):
    request = DeleteAclsRequest(
        TOPIC, topic, LITERAL, f"User:{LIMITED}", ANY_HOST, CODES[right], ALLOW
    )
    async with plain.admin(secured) as admin:
        await admin._send_request(request)


def limited(secured, prefix, erasure="shred"):
    settings = secured.settings(sasl_username=LIMITED, topic_prefix=prefix)
    return KafkaLog(
        KafkaSettings(
            partitions=1, producers=1, connect_timeout_seconds=20, erasure=erasure, **settings
        )
    )


async def use(log):
    await log.start()
    try:
        for role in ROLES:
            [position] = await log.append(role, [Record(b"key", b"value")])
            assert (await log.read(role, position)).record.value == b"value"
    finally:
        await log.stop()


@pytest.fixture
async def prefix(secured):
    """Topics that exist, on which nothing is allowed yet."""
    prefix = new_prefix()
    for role in ROLES:
        await plain.create(secured, prefix + role, **(COMPACTED if role == KEYS else FITTING))
    return prefix


async def test_each_right_of_the_table_is_needed_and_together_they_are_enough(secured, prefix):
    for right, role in NEEDED:
        await allow(secured, prefix + role, right)
    await use(limited(secured, prefix))
    for right, role in NEEDED:
        await take(secured, prefix + role, right)
        with pytest.raises(ConfigurationError) as caught:
            await use(limited(secured, prefix))
        assert f"Kafka does not allow {right} on {prefix}{role}. Remedy: " in caught.value.detail
        assert f"--operation {right} --topic {prefix}{role}" in caught.value.detail
        await allow(secured, prefix + role, right)


async def test_a_right_that_is_taken_away_later_is_named(secured, prefix):
    for right, role in NEEDED:
        await allow(secured, prefix + role, right)
    log = limited(secured, prefix)
    await log.start()
    try:
        await take(secured, prefix + IMAGES, "Write")
        async with asyncio.timeout(SECONDS):
            while not log.trouble:
                with suppress(NotWrittenError, OutcomeUnknownError):
                    await log.append(IMAGES, [Record(b"key", b"value")])
        assert f"Kafka does not allow Write on {prefix}{IMAGES}" in log.trouble
    finally:
        await log.stop()


async def test_without_any_right_a_topic_is_hidden_and_the_error_says_so(secured, prefix):
    with pytest.raises(ConfigurationError, match="Allow Create on it; or, if it exists"):
        await use(limited(secured, prefix))


async def test_create_is_needed_only_where_the_topics_are_missing(secured):
    prefix = new_prefix()
    for right, role in NEEDED:
        await allow(secured, prefix + role, right)
    with pytest.raises(ConfigurationError, match="Kafka refuses to create it"):
        await use(limited(secured, prefix))
    for role in ROLES:
        await allow(secured, prefix + role, "Create")
    await use(limited(secured, prefix))
    for role in ROLES:
        await take(secured, prefix + role, "Create")
    await use(limited(secured, prefix))


async def test_the_topic_of_keys_needs_no_right_until_it_is_there_unless_the_gateway_shreds(
    secured,
):
    prefix = new_prefix()
    for role in ROLES:
        if role != KEYS:
            await plain.create(secured, prefix + role, **FITTING)
            for right in RIGHTS:
                await allow(secured, prefix + role, right)
    log = limited(secured, prefix, erasure="retention")
    await log.start()
    try:
        assert log.partitions(KEYS) == 0
        await plain.create(secured, prefix + KEYS, **COMPACTED)
        await allow(secured, prefix + KEYS, "Read")
        async with asyncio.timeout(SECONDS):
            while f"does not allow Write, DescribeConfigs on {prefix}{KEYS}" not in str(
                log.trouble
            ):
                log._topics.look_soon()
                await asyncio.sleep(0.05)
        for right in RIGHTS:
            await allow(secured, prefix + KEYS, right)
        async with asyncio.timeout(SECONDS):
            while log.trouble or not log.partitions(KEYS):
                await asyncio.sleep(0.05)
        await log.append(KEYS, [Record(b"key", None)])
    finally:
        await log.stop()


def test_the_page_names_these_rights_and_no_others():
    section = PAGE.read_text("utf-8").split("## Rights")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`.+?) \|", section)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert named == ["Read", "Write", "DescribeConfigs", "Create"]
    assert set(re.findall(r"--operation (\w+)", section)) == {right for right, _ in NEEDED}
