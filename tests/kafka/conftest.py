"""Fixtures of the tests that run a gateway, or its log, on a Kafka broker."""

import pytest

from tests.support.gateway_process import new_gateway, on_kafka
from tests.support.kafka_logs import opened_log

__all__ = ["new_gateway"]


@pytest.fixture
def topics(kafka):
    """The settings of a gateway with topics of the test's own."""
    return on_kafka(kafka)


@pytest.fixture
def prefix(topics):
    return topics["IMAGEGATE_KAFKA__TOPIC_PREFIX"]


@pytest.fixture
async def log(kafka):
    async with opened_log(kafka) as log:
        yield log
