"""`KafkaLog` where it differs from the other engine: producers, and batches on the wire."""

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.protocol.fetch import FetchRequest

from app.delivery.cache import RecordCache
from app.errors import (
    LogUnavailableError,
    NotWrittenError,
    OutcomeUnknownError,
    RecordDamagedError,
    RecordMissingError,
)
from app.log import EVENTS, IMAGES, Position, Record
from app.log.kafka.leaders import UncertainError
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from tests.support import plain
from tests.support.plain import FITTING

# Of a batch, what the CRC covers begins here: https://kafka.apache.org/documentation/#recordbatch
CRC_COVERS_FROM = 21
APPEND_SECONDS = 1.5


@asynccontextmanager
async def opened(kafka, **options):
    log = KafkaLog(
        KafkaSettings(
            bootstrap_servers=kafka.bootstrap_servers,
            topic_prefix=f"log-{uuid.uuid4().hex[:8]}-",
            **{"partitions": 2, "producers": 2, "append_timeout_seconds": APPEND_SECONDS} | options,
        )
    )
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@pytest.fixture
async def log(kafka):
    async with opened(kafka) as log:
        yield log


async def heal(log, partition=0):
    """Append until it works; return the position."""
    async with asyncio.timeout(20):
        while True:
            try:
                [position] = await log.append(IMAGES, [Record(b"k", b"healed", (), partition)])
            except (NotWrittenError, OutcomeUnknownError) as error:
                if error.settled is not None:
                    await error.settled
                await asyncio.sleep(0.05)
            else:
                return position


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

    async def test_one_that_is_being_replaced_refuses_and_the_others_go_on(self, log):
        first, second, _ = log._appender.lanes
        connecting = asyncio.Event()

        async def connect():
            await connecting.wait()
            return await type(first)._connect(first)

        first._connect = connect
        first._replace(first._producer, "provoked")
        assert first.trouble is not None
        # Nothing of an image has to go through it: the others take what it would.
        assert log.trouble is None
        log.require_writable()
        with pytest.raises(NotWrittenError):
            await log.append(IMAGES, [Record(b"k", b"v", (), 0)])
        assert (await log.append(IMAGES, [Record(b"k", b"v")]))[0].partition % 2 == 1
        assert await log.append(EVENTS, [Record(b"k", b"v")]) == [Position(0, 0)]
        connecting.set()
        assert await heal(log) == Position(0, 0)
        assert second.trouble is None

    async def test_what_it_held_when_it_was_replaced_is_resolved(self, log):
        lane = log._appender.lanes[0]
        held = [await lane.send(log._names[IMAGES], 0, Record(b"k", b"v")) for _ in range(3)]
        lane._replace(lane._producer, "provoked")
        done, pending = await asyncio.wait(held, timeout=10)
        assert not pending
        for future in done:
            future.exception()
        await heal(log)

    async def test_stopping_while_one_is_being_replaced_leaves_no_task_behind(self, kafka):
        async with opened(kafka) as log:
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
    async with opened(broker, read_timeout_seconds=3) as log:
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


async def test_a_partition_is_unknown_only_when_metadata_says_so(log, monkeypatch):
    async def nobody():
        return False

    log._leaders._timeout_seconds = 0.5
    with pytest.raises(RecordMissingError):
        await log.read(IMAGES, Position(7, 0))
    # Another program may have added it since metadata was read last, and now no broker says.
    monkeypatch.setattr(log._client, "force_metadata_update", nobody)
    log._leaders._looked_at = 0
    with pytest.raises(LogUnavailableError):
        await log.read(IMAGES, Position(7, 0))


async def test_a_tail_that_is_given_nothing_says_so(log, monkeypatch):
    async def refuse(*_, **__):
        raise UncertainError("error code 29")

    monkeypatch.setattr(log._fetcher, "_fetch", refuse)
    with pytest.raises(LogUnavailableError, match="does not give the records") as raised:
        await anext(log.tail(EVENTS, 0, 0))
    assert "29" in str(raised.value.__cause__)


async def test_a_record_that_is_refused_for_good_names_the_reason_and_costs_no_connection(
    kafka, monkeypatch
):
    async with opened(kafka) as log:
        replaced = []
        for lane in log._appender.lanes:
            monkeypatch.setattr(lane, "failed", replaced.append)
        await plain.alter(kafka, log._names[IMAGES], **FITTING, max_message_bytes=200_000)
        with pytest.raises(OutcomeUnknownError) as raised:
            await log.append(IMAGES, [Record(b"key", bytes(500_000), (), 0)])
        assert isinstance(raised.value.__cause__, MessageSizeTooLargeError)
        await log.append(IMAGES, [Record(b"key", b"small", (), 0)])
        # The watch has been told to look at the topics, and takes the new limit over.
        async with asyncio.timeout(10):
            while log.max_record_bytes(IMAGES) != 200_000:
                await asyncio.sleep(0.05)
        assert replaced == []


async def test_connections_that_uvloop_has_closed_already_are_made_anew(log):
    """It raises where asyncio drops what is written; aiokafka's tasks died of that."""

    def refuse(*_):
        raise RuntimeError("unable to perform operation; the handler is closed")

    def break_all(client):
        for connection in client._conns.values():
            connection._writer.write = refuse

    [position] = await log.append(IMAGES, [Record(b"key", b"value", (), 0)])
    assert (await log.read(IMAGES, position)).record.value == b"value"
    producers = [lane._producer for lane in log._appender.lanes]
    for client in (log._client, *(producer.client for producer in producers)):
        break_all(client)
    assert (await log.read(IMAGES, position)).record.value == b"value"
    async with asyncio.timeout(5):
        assert await log._client.force_metadata_update()
    for partition in range(2):
        await log.append(IMAGES, [Record(b"key", b"value", (), partition)])
    assert [lane._producer for lane in log._appender.lanes] == producers


@pytest.mark.kafka
class TestBatches:
    async def test_one_that_was_damaged_on_its_way_is_never_served(self, log):
        value = bytes(range(256)) * 2
        [position] = await log.append(IMAGES, [Record(b"key", value, (("h", b"x"),), 0)])
        intact = log._fetcher._fetch
        damaged = CRC_COVERS_FROM

        async def fetch(*arguments, **options):
            answer = await intact(*arguments, **options)
            batches = bytearray(answer.batches)
            batches[damaged] ^= 0x55
            return replace(answer, batches=bytes(batches))

        whole = await intact(log._names[IMAGES], position, "x", 1, max_bytes=1, wait_ms=1)
        log._fetcher._fetch = fetch
        for damaged in range(CRC_COVERS_FROM, len(whole.batches), 17):  # noqa: B007 - fetch sees it
            with pytest.raises(RecordDamagedError):
                await log.read(IMAGES, position)
        with pytest.raises(RecordDamagedError):
            await anext(log.tail(IMAGES, 0, 0))

    async def test_one_that_was_damaged_once_is_fetched_again(self, log):
        [position] = await log.append(IMAGES, [Record(b"key", b"value", (), 0)])
        intact = log._fetcher._fetch
        answers = 0

        async def fetch(*arguments, **options):
            nonlocal answers
            answers += 1
            answer = await intact(*arguments, **options)
            cut = answer.batches[:-1] + bytes([answer.batches[-1] ^ 1])
            return replace(answer, batches=cut) if answers == 1 else answer

        log._fetcher._fetch = fetch
        assert (await log.read(IMAGES, position)).record.value == b"value"
        assert answers == 2

    async def test_one_that_ends_too_early_is_never_served(self, log):
        [position] = await log.append(IMAGES, [Record(b"key", bytes(500), (), 0)])
        intact = log._fetcher._fetch
        kept = 0

        async def fetch(*arguments, **options):
            answer = await intact(*arguments, **options)
            return replace(answer, batches=answer.batches[:kept])

        log._fetcher._fetch = fetch
        log._leaders._timeout_seconds = 0.1
        with pytest.raises(LogUnavailableError):
            await log.read(IMAGES, position)
        for kept in (1, 11, 12, 61, 300, 570):  # noqa: B007 - fetch sees it
            with pytest.raises(RecordDamagedError):
                await log.read(IMAGES, position)

    async def test_an_answer_without_topics_is_asked_for_again(self, log, monkeypatch):
        """A broker answers so to a client that is over its quota."""
        [position] = await log.append(IMAGES, [Record(b"key", b"value", (), 0)])
        send = log._client.send
        throttled = 0

        async def answer(node, request, **options):
            nonlocal throttled
            response = await send(node, request, **options)
            if isinstance(request, FetchRequest) and not throttled:
                throttled += 1
                response.topics = []
            return response

        monkeypatch.setattr(log._client, "send", answer)
        assert (await log.read(IMAGES, position)).record.value == b"value"
        assert throttled == 1

    async def test_neighbours_come_with_a_read_and_are_served_from_memory(self, log):
        records = [Record(b"%d" % n, b"value %d" % n, (("n", b"%d" % n),), 0) for n in range(30)]
        positions = await log.append(IMAGES, records)
        fetched = await log.read(IMAGES, positions[-1])
        assert fetched.record.value == b"value 29"
        assert fetched.neighbours
        for neighbour in fetched.neighbours:
            original = records[neighbour.position.offset]
            assert (neighbour.key, neighbour.value) == (original.key, original.value)
            assert neighbour.headers == original.headers
        cache = RecordCache(log, IMAGES, 1_000_000)
        await cache.read(positions[-1], bool)
        log._fetcher = None  # the log answers nothing any more
        for neighbour in fetched.neighbours:
            assert await cache.read(neighbour.position, bool) == neighbour
