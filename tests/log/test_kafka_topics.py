"""Topics on brokers that disagree for a while; `tests/kafka/` has them on real ones."""

from types import SimpleNamespace

import pytest

from app.errors import ConfigurationError
from app.log.kafka import topics

NAMES = {"images": "images"}
UNKNOWN_TOPIC, NOT_ALLOWED = 3, 29


class Brokers:
    """An admin client; the broker that it asks for configurations answers with these codes."""

    def __init__(self, *codes):
        self.codes = list(codes)

    async def describe_topics(self, names):
        partition = {"leader": 1, "replicas": [1], "isr": [1]}
        return [{"topic": name, "error_code": 0, "partitions": [partition]} for name in names]

    async def describe_configs(self, resources):
        code = self.codes.pop(0)
        entries = [] if code else [("retention.ms", "-1")]
        return [
            SimpleNamespace(resources=[(code, "", 2, each.name, entries) for each in resources])
        ]


async def test_a_broker_that_does_not_know_a_new_topic_yet_is_asked_again():
    brokers = Brokers(UNKNOWN_TOPIC, UNKNOWN_TOPIC, 0)
    described = await topics.describe(brokers, NAMES)
    assert described["images"].config["retention.ms"] == "-1"
    assert not brokers.codes


async def test_a_refusal_to_show_the_configuration_is_final_and_names_the_right_to_give():
    brokers = Brokers(NOT_ALLOWED, 0)
    with pytest.raises(
        ConfigurationError, match=r"TopicAuthorizationFailed.*allow DescribeConfigs"
    ):
        await topics.describe(brokers, NAMES)
    assert brokers.codes == [0]
