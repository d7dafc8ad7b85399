"""Brokers that die, hang and come back while clients go on."""

import asyncio
import time

import pytest

from tests.support import plain
from tests.support.checker import ANSWER_SECONDS, NOTICE_SECONDS, expect_refused_at_once

pytestmark = pytest.mark.apache_kafka


async def test_broker_killed_and_restarted(new_broker, gateway_on, checker):
    broker = new_broker()
    async with checker(gateway_on(broker)) as clients:
        await clients.more_stored()
        await asyncio.to_thread(broker.kill)
        assert await clients.ready(wanted=False) < NOTICE_SECONDS
        await clients.more_answers(504, 1)
        await expect_refused_at_once(clients)
        await asyncio.to_thread(broker.start)
        await clients.ready()
        await clients.more_stored()
        await clients.finish()
    assert clients.counts.slowest_seconds < ANSWER_SECONDS


async def test_broker_stopped_for_45_seconds(new_broker, gateway_on, checker):
    broker = new_broker()
    async with checker(gateway_on(broker)) as clients:
        await clients.more_stored()
        started = time.monotonic()
        broker.pause()
        assert await clients.ready(wanted=False) < NOTICE_SECONDS
        await clients.more_answers(504, 1)
        await expect_refused_at_once(clients)
        await clients.until(lambda: time.monotonic() - started > 45)
        broker.resume()
        await clients.ready()
        await clients.more_stored()
        await clients.finish()
    assert clients.counts.slowest_seconds < ANSWER_SECONDS


async def test_leaders_killed_one_after_another(cluster, gateway_on, checker):
    gateway = gateway_on(cluster)
    async with checker(gateway) as clients:
        await clients.more_stored()
        clients.begin_pause()
        for _ in range(3):
            leader = await leader_of_events(cluster, gateway)
            await asyncio.to_thread(cluster.node(leader).kill)
            await clients.more_stored(50)
            await asyncio.to_thread(cluster.node(leader).start)
            await everything_in_sync(cluster, gateway, clients)
        await clients.finish()
    # A dead node's session lasts 3 s here, then its partitions get leaders and clients learn of it.
    assert clients.counts.pause_seconds < 10


async def test_leader_killed_while_another_replica_hangs(cluster, gateway_on, checker):
    gateway = gateway_on(cluster)
    async with checker(gateway) as clients:
        await clients.more_stored(50)
        leader = await leader_of_events(cluster, gateway)
        hanging = cluster.node(leader % 3 + 1)
        hanging.pause()
        # Long enough that some records are acknowledged by the other two alone.
        await clients.more_stored(20)
        await asyncio.to_thread(cluster.node(leader).kill)
        hanging.resume()
        await clients.more_stored(20)
        await asyncio.to_thread(cluster.node(leader).start)
        await clients.finish()


async def test_two_of_three_down(cluster, gateway_on, checker):
    gateway = gateway_on(cluster)
    async with checker(gateway) as clients:
        await clients.more_stored(50)
        remaining = await leader_of_events(cluster, gateway)
        gone = [node for number, node in enumerate(cluster.brokers, start=1) if number != remaining]
        for node in gone:
            await asyncio.to_thread(node.kill)
        await clients.ready(wanted=False)
        before = len(clients.stored)
        # The remaining node accepts connections: it is tried with one record after the other.
        await clients.more_answers(503, 50)
        await expect_some_reads(clients)
        assert len(clients.stored) == before
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in gone))
        await clients.ready()
        await clients.more_stored()
        await clients.finish()


async def expect_some_reads(clients):
    answers = [await clients.get(url) for url in list(clients.stored)[:12]]
    assert any(answer.status_code == 200 for answer in answers)
    assert {answer.status_code for answer in answers} <= {200, 410, 503}


async def leader_of_events(cluster, gateway):
    prefix = gateway.environment["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    async with plain.admin(cluster) as admin:
        [described] = await admin.describe_topics([f"{prefix}image-events"])
        return described["partitions"][0]["leader"]


async def everything_in_sync(cluster, gateway, clients):
    prefix = gateway.environment["IMAGEGATE_KAFKA__TOPIC_PREFIX"]
    topics = [f"{prefix}{name}" for name in ("images", "image-events", "image-rejects")]
    deadline = time.monotonic() + 60
    while True:
        async with plain.admin(cluster) as admin:
            described = await admin.describe_topics(topics)
        partitions = [each for topic in described for each in topic["partitions"]]
        if all(len(each["isr"]) == 3 for each in partitions):
            return
        assert time.monotonic() < deadline, partitions
        await clients.pause(0.2)
