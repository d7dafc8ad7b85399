"""No socket stays open, wherever a connection or a client is cancelled or closed."""

import asyncio
import gc
import logging
import warnings

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn

from app.log.kafka import transport
from app.log.kafka.connections import Connections
from app.log.kafka.settings import KafkaSettings

pytestmark = pytest.mark.apache_kafka

LISTENERS = ("INTERNAL", "CLEAR", "MTLS", "SASL")


class Interrupted:
    """An awaitable in a task that cancels it at its nth await, or just when that is done."""

    def __init__(self, awaitable, number, *, when_done):
        self.awaits = 0
        self._awaitable = awaitable
        self._number = number
        self._when_done = when_done

    def __await__(self):
        steps, error = self._awaitable.__await__(), None
        while True:
            try:
                waited_for = steps.throw(error) if error else steps.send(None)
            except StopIteration as stop:
                return stop.value
            error = None
            self.awaits += 1
            if self.awaits == self._number:
                task = asyncio.current_task()
                if self._when_done and waited_for is not None:
                    waited_for.add_done_callback(lambda _, task=task: task.cancel())
                else:
                    task.cancel()
            try:
                yield waited_for
            except BaseException as thrown:  # noqa: BLE001 - the task's, for the awaitable
                error = thrown


@pytest.fixture
def connections(secured):
    """How to connect to each listener."""
    transport.install()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Each of some hundred collections would look at all that other tests have left.
    gc.collect()
    gc.freeze()
    yield {name: _connections(secured, name) for name in LISTENERS}
    gc.unfreeze()
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)


def _connections(secured, listener):
    if listener == "INTERNAL":
        return Connections(KafkaSettings(bootstrap_servers=secured.bootstrap_servers))
    more = {"tls_cert_file": str(secured.client_file)} if listener == "MTLS" else {}
    return Connections(KafkaSettings(**secured.settings(listener, **more)))


async def connect(connections):
    options = connections.options("test")
    host, _, port = options.pop("bootstrap_servers").partition(":")
    connection = await create_conn(host, int(port), **options)
    connection.close()


async def ask(connections):
    """Have a client connect twice, as each does, and close it."""
    client = AIOKafkaClient(**connections.options("test"))
    try:
        await client.bootstrap()
        await client.ready(client.get_random_node())
    finally:
        await client.close()


def left_by(coroutine):
    """Run it in an event loop that ends at once; return warnings of what is still open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with asyncio.Runner() as runner:
            runner.run(coroutine)
        gc.collect()
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("when_done", [False, True], ids=["while it waits", "when it is done"])
@pytest.mark.parametrize("act", [connect, ask])
@pytest.mark.parametrize("listener", LISTENERS)
def test_no_socket_stays_open_at_whichever_await_it_is_cancelled(
    connections, listener, act, when_done
):
    async def cancelled(number):
        interrupted = Interrupted(act(connections[listener]), number, when_done=when_done)

        async def run():
            await interrupted

        task = asyncio.create_task(run())
        await asyncio.wait({task}, timeout=20)
        assert task.done()
        if not task.cancelled():
            task.result()
        awaits.append(interrupted.awaits)

    awaits, number = [], 0
    while not awaits or awaits[-1] >= number:
        number += 1
        assert not left_by(cancelled(number)), f"cancelled at its await number {number}"
    assert number > 3


@pytest.mark.parametrize("listener", LISTENERS)
def test_a_client_that_is_closed_while_it_connects_keeps_no_connection(connections, listener):
    async def close_between(number):
        client = AIOKafkaClient(**connections[listener].options("test"))
        await client.bootstrap()
        ready = asyncio.create_task(client.ready(client.get_random_node()))
        for _ in range(number):
            await asyncio.sleep(0)
        await client.close()
        was_ready.append(await asyncio.wait_for(ready, 20))
        assert not [each for each in client._conns.values() if each.connected()]

    was_ready = []
    for number in range(4):
        assert not left_by(close_between(number))
    assert was_ready[0] is False
