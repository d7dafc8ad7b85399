"""The network between gateway and broker: connections slowed, held, cut and reset."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from dev.kafka.ports import HOST
from tests.support.checker import ANSWER_SECONDS, NOTICE_SECONDS, expect_refused_at_once
from tests.support.proxy import Proxy

pytestmark = pytest.mark.apache_kafka


@pytest.fixture
async def proxy():
    async with Proxy() as made:
        yield made


@pytest.fixture
async def proxied(proxy, new_broker):
    """A broker that tells its clients to come through the proxy."""
    address = f"{HOST}:{proxy.port}"
    start = asyncio.to_thread(new_broker, {"advertised.listeners": f"PLAINTEXT://{address}"})
    await proxy.start((await start).port)
    return SimpleNamespace(bootstrap_servers=address)


@pytest.fixture
async def gateway(gateway_on, proxied):
    # The proxy needs the event loop while the gateway starts.
    return await asyncio.to_thread(gateway_on, proxied)


@pytest.mark.cheap
async def test_connections_cut_and_reset(proxy, gateway, checker):
    async with checker(gateway) as clients:
        await clients.more_stored()
        for _ in range(10):
            proxy.cut()
            await clients.more_stored(3)
            proxy.reset()
            await clients.more_stored(3)
        await clients.finish()
    assert clients.counts.slowest_seconds < ANSWER_SECONDS


async def test_latency_of_500_ms(proxy, gateway, checker):
    async with checker(gateway) as clients:
        await clients.more_stored()
        proxy.latency_seconds = 0.5
        await clients.more_stored(40)
        proxy.latency_seconds = 0.0
        await clients.more_stored()
        await clients.finish()
    assert clients.counts.statuses.keys() == {201}


async def test_black_hole(proxy, gateway, checker):
    async with checker(gateway) as clients:
        await clients.more_stored()
        started = time.monotonic()
        proxy.black_hole()
        assert await clients.ready(wanted=False) < NOTICE_SECONDS
        await clients.more_answers(504, 1)
        await expect_refused_at_once(clients)
        await clients.until(lambda: time.monotonic() - started > 20)
        proxy.let_go()
        await clients.ready()
        await clients.more_stored()
        await clients.finish()
    assert clients.counts.slowest_seconds < ANSWER_SECONDS


@pytest.mark.parametrize("held", ["requests", "answers"])
async def test_held_back_and_let_go_later(proxy, gateway, checker, held):
    async with checker(gateway) as clients:
        await clients.more_stored()
        for _ in range(2):
            getattr(proxy, held).clear()
            await clients.more_answers(504, 3)
            # By now the gateway has abandoned these connections, and writes on others.
            proxy.let_go()
            await clients.ready()
            await clients.more_stored()
        await clients.finish()
    assert clients.counts.slowest_seconds < ANSWER_SECONDS
