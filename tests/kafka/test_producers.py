"""The producers of `KafkaLog`: replaced when they fail, with an outcome for every record."""

import asyncio
import time

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from app.errors import LogUnavailableError, NotWrittenError, OutcomeUnknownError
from app.log import EVENTS, IMAGES, Position, Record
from tests.support import plain
from tests.support.kafka_logs import APPEND_SECONDS, heal, new_prefix, opened_log
from tests.support.plain import FITTING


@pytest.mark.kafka
class TestProducers:
    @pytest.mark.parametrize("death", ["cancelled", "failed"])
    async def test_one_whose_sender_died_is_replaced_and_every_record_has_an_outcome(
        self, log, death
    ):
        await log.append(IMAGES, [Record(b"k", b"v", (), 0)])
        lane = log._appender.lanes[0]
        producer = lane._producer
        if death == "cancelled":
            producer._sender.sender_task.cancel()
        else:
            # The sender waits for this before each round of its loop.
            def fail(*_, **__):
                raise RuntimeError("provoked")

            producer._message_accumulator.drain_by_nodes = fail
        started = time.monotonic()
        results = await asyncio.gather(
            *(log.append(IMAGES, [Record(b"%d" % n, b"v", (), 0)]) for n in range(5)),
            return_exceptions=True,
        )
        assert time.monotonic() - started < APPEND_SECONDS + 3
        for result in results:
            assert isinstance(result, (NotWrittenError, OutcomeUnknownError, list)), repr(result)
            if isinstance(result, OutcomeUnknownError) and result.settled is not None:
                await asyncio.wait_for(result.settled, 10)
        position = await heal(log)
        assert lane._producer is not producer
        assert (await log.read(IMAGES, position)).record.value == b"healed"
        assert log.trouble is None

    async def test_records_of_one_append_share_batches_as_far_as_they_fit(self, log):
        half = log.max_record_bytes(IMAGES) // 2
        records = [Record(b"k", b"v" * 1000) for _ in range(20)]
        positions = await log.append(IMAGES, [*records, Record(b"k", bytes(half)), records[0]])
        small, large = positions[:20], positions[20:]
        assert {each.partition for each in positions} == {small[0].partition}
        fetched = await log.read(IMAGES, small[0])
        there = {each.position for each in fetched.neighbours}
        assert set(small[1:]) | set(large) == there
        positions = await log.append(IMAGES, [Record(b"k", bytes(half))] * 3)
        assert len({each.partition for each in positions}) > 1

    async def test_one_that_is_being_replaced_refuses_and_the_others_go_on(self, log):
        first, second, _ = log._appender.lanes
        connecting = asyncio.Event()

        async def connect():
            await connecting.wait()
            return await type(first)._connect(first)

        first._connect = connect
        first._replace(first._producer, "provoked")
        assert first.trouble is not None
        # No record of an image needs this one: the others write them.
        assert log.trouble is None
        log.require_writable()
        with pytest.raises(NotWrittenError):
            await log.append(IMAGES, [Record(b"k", b"v", (), 0)])
        assert (await log.append(IMAGES, [Record(b"k", b"v")]))[0].partition % 2 == 1
        assert await log.append(EVENTS, [Record(b"k", b"v")]) == [Position(0, 0)]
        connecting.set()
        assert await heal(log) == Position(0, 0)
        assert second.trouble is None

    async def test_records_it_held_when_it_was_replaced_have_an_outcome(self, kafka):
        prefix = new_prefix()
        async with opened_log(kafka, topic_prefix=prefix) as log:
            lane = log._appender.lanes[0]
            held = [await lane.send(f"{prefix}{IMAGES}", 0, Record(b"k", b"v")) for _ in range(3)]
            lane._replace(lane._producer, "provoked")
            done, pending = await asyncio.wait(held, timeout=10)
            assert not pending
            for future in done:
                future.exception()
            await heal(log)

    async def test_stopping_while_one_is_being_replaced_leaves_no_task_behind(self, kafka):
        async with opened_log(kafka) as log:
            before = asyncio.all_tasks()
            lane = log._appender.lanes[0]
            lane._replace(lane._producer, "provoked")
            await log.stop()
            assert lane._renewal.done()
            assert lane.trouble
        assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()


@pytest.mark.apache_kafka
async def test_stop_is_bounded_while_the_broker_hangs(new_broker):
    broker = new_broker()
    async with opened_log(broker, read_timeout_seconds=3) as log:
        await log.append(IMAGES, [Record(b"k", b"v", (), n) for n in range(2)])
        broker.pause()
        appending = [
            asyncio.create_task(log.append(IMAGES, [Record(b"k", bytes(1000), (), n % 2)]))
            for n in range(10)
        ]
        reading = asyncio.create_task(log.read(IMAGES, Position(0, 0)))
        await asyncio.sleep(0)
        started = time.monotonic()
        await log.stop()
        # Flushing may take the deadline of an append; letting go takes a second or two.
        assert time.monotonic() - started < APPEND_SECONDS + 4
        results = await asyncio.gather(*appending, return_exceptions=True)
        for result in results:
            assert isinstance(result, (NotWrittenError, OutcomeUnknownError)), repr(result)
        with pytest.raises(LogUnavailableError):
            await reading
        broker.kill()


async def test_a_record_that_is_refused_for_good_names_the_reason_and_costs_no_connection(
    kafka, monkeypatch
):
    prefix = new_prefix()
    async with opened_log(kafka, topic_prefix=prefix) as log:
        replaced = []
        for lane in log._appender.lanes:
            monkeypatch.setattr(lane, "failed", replaced.append)
        await plain.alter(kafka, f"{prefix}{IMAGES}", **FITTING, max_message_bytes=200_000)
        with pytest.raises(OutcomeUnknownError) as raised:
            await log.append(IMAGES, [Record(b"key", bytes(500_000), (), 0)])
        assert isinstance(raised.value.__cause__, MessageSizeTooLargeError)
        await log.append(IMAGES, [Record(b"key", b"small", (), 0)])
        # The failure makes the watch look at the topics, and apply the new limit.
        async with asyncio.timeout(10):
            while log.max_record_bytes(IMAGES) != 200_000:
                await asyncio.sleep(0.05)
        assert replaced == []


async def test_connections_that_uvloop_has_closed_already_are_replaced(log):
    """A write to one raises, where asyncio drops the bytes; aiokafka's tasks died of that."""

    def refuse(*_):
        raise RuntimeError("unable to perform operation; the handler is closed")

    def break_all(client):
        for connection in client._conns.values():
            connection._writer.write = refuse

    [position] = await log.append(IMAGES, [Record(b"key", b"value", (), 0)])
    assert (await log.read(IMAGES, position)).record.value == b"value"
    producers = [lane._producer for lane in log._appender.lanes]
    for client in (log._reads.client, *(producer.client for producer in producers)):
        break_all(client)
    assert (await log.read(IMAGES, position)).record.value == b"value"
    async with asyncio.timeout(5):
        assert await log._reads.client.force_metadata_update()
    for partition in range(2):
        await log.append(IMAGES, [Record(b"key", b"value", (), partition)])
    assert [lane._producer for lane in log._appender.lanes] == producers
