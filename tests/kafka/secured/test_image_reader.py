"""The reader signs in as a gateway does, and needs no right but to read."""

import asyncio

import pytest
from aiokafka.protocol.admin import CreateAclsRequest

from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from imagegate import ConfigurationError, ImageReader
from tests.support import plain
from tests.support.kafka_logs import new_prefix
from tests.support.secured import LIMITED
from tests.support.shelf import Shelf

pytestmark = pytest.mark.apache_kafka

# org.apache.kafka.common.resource.ResourceType, PatternType, AclOperation and AclPermissionType.
TOPIC, GROUP, PREFIXED, READ, ALLOW = 2, 3, 4, 3, 3


async def allow(secured, kind, name):
    request = CreateAclsRequest(kind, name, PREFIXED, f"User:{LIMITED}", "*", READ, ALLOW)
    async with plain.admin(secured) as admin:
        response = await admin._send_request(request)
    assert [code for code, *_ in response.creation_responses] == [0]


@pytest.fixture
async def stored(secured):
    """The prefix of topics that a gateway made, with the ids of two images there."""
    prefix = new_prefix()
    log = KafkaLog(KafkaSettings(partitions=1, **secured.settings(topic_prefix=prefix)))
    await log.start()
    try:
        shelf = Shelf(log)
        yield prefix, [await shelf.put(data) for data in (b"one", b"two")]
    finally:
        await log.stop()


async def read(**options):
    async with ImageReader(follow=False, **options) as images:
        return [image.id async for image in images]


async def test_the_rights_to_read_topics_and_group_are_needed_and_enough(secured, stored):
    prefix, ids = stored
    settings = secured.settings(sasl_username=LIMITED, topic_prefix=prefix)
    options = settings | {"group_id": f"{prefix}group", "connect_timeout_seconds": 20}
    with pytest.raises(ConfigurationError, match=f"Kafka does not allow Read on {prefix}images"):
        await read(**options)
    await allow(secured, TOPIC, prefix)
    with pytest.raises(ConfigurationError, match=f"does not allow the group {prefix}group"):
        await asyncio.wait_for(read(**options), 60)
    await allow(secured, GROUP, prefix)
    assert await read(**options) == ids


async def test_a_certificate_signs_in(secured, stored):
    prefix, ids = stored
    certificate = {"tls_cert_file": str(secured.client_file)}
    options = secured.settings("MTLS", topic_prefix=prefix, **certificate)
    assert await read(**options, group_id=f"{prefix}group") == ids


async def test_a_wrong_password_is_refused_at_once(secured, stored):
    options = secured.settings(sasl_password="wrong", topic_prefix=stored[0])  # noqa: S106
    with pytest.raises(ConfigurationError, match="password is wrong"):
        await asyncio.wait_for(read(**options, group_id="group"), 20)
