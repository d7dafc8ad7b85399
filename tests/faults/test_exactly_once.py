"""Uploads under one idempotency key, whatever happens to gateways and network meanwhile."""

import asyncio
import random
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from dev.kafka.ports import HOST, free_port
from tests.support.gateway_process import BOUNDED, on_kafka
from tests.support.once import answered, expect_one_image, listed, new_key, upload
from tests.support.proxy import Proxy

pytestmark = pytest.mark.apache_kafka

REPETITIONS = 100
# Fifty uploads at once take about as long.
KILLED_WITHIN_SECONDS = 0.6


@pytest.fixture
async def pair(new_gateway, tmp_path):
    """Start two gateways on brokers; returns each, and a client of each: `pair(broker)`."""
    async with AsyncExitStack() as stack:

        async def start(kafka):
            settings = on_kafka(kafka)
            gateways = []
            for name in ("first", "second"):
                port = str(free_port())
                gateway = await asyncio.to_thread(
                    new_gateway, "--port", port, data_dir=tmp_path / name, **settings
                )
                gateway.port = port
                gateways.append(gateway)
            clients = [await stack.enter_async_context(each.async_client()) for each in gateways]
            return gateways, clients

        yield start


async def test_fifty_at_once_over_two_gateways_a_hundred_times(new_broker, pair):
    gateways, clients = await pair(new_broker())
    for _ in range(REPETITIONS):
        await expect_one_image(clients, new_key())
    assert [each.mistakes() for each in gateways] == [[], []]


async def test_one_of_two_gateways_killed_in_between_a_hundred_times(
    new_broker, pair, round_number
):
    gateways, clients = await pair(new_broker())
    moments = random.Random(round_number)

    async def kill():
        gateway = moments.choice(gateways)
        await asyncio.sleep(moments.uniform(0, KILLED_WITHIN_SECONDS))
        await asyncio.to_thread(gateway.kill)
        await asyncio.to_thread(gateway.start, "--port", gateway.port)

    for _ in range(REPETITIONS):
        await expect_one_image(clients, new_key(), kill)


async def test_an_unknown_outcome_is_known_once_it_is_sent_again(new_broker, gateway_on):
    async with Proxy() as proxy:
        address = f"{HOST}:{proxy.port}"
        start = asyncio.to_thread(new_broker, {"advertised.listeners": f"PLAINTEXT://{address}"})
        await proxy.start((await start).port)
        kafka = SimpleNamespace(bootstrap_servers=address)
        gateway = await asyncio.to_thread(gateway_on, kafka, **BOUNDED)
        stored = []
        async with gateway.async_client() as client:
            # So that it is connected to everything.
            stored.append((await upload(client, new_key())).json()["id"])
            for held in (proxy.answers, proxy.requests):
                held.clear()
                key = await expect_unknown(client)
                proxy.let_go()
                answers = [await answered([client], key) for _ in range(2)]
                assert [each.status_code for each in answers] == [201, 201]
                assert answers[0].content == answers[1].content
                stored.insert(0, answers[0].json()["id"])
                assert await listed(client) == stored
        assert gateway.mistakes() == []


async def expect_unknown(client):
    """Upload until an outcome is unknown; return the key of that upload."""
    async with asyncio.timeout(60):
        while True:
            key = new_key()
            answer = await upload(client, key)
            if answer.status_code == 504:
                assert answer.json()["outcome"] == "unknown"
                return key
            # Nothing was handed over on a connection that was given up.
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.1)
