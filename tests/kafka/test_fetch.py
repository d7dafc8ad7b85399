"""Reads of `KafkaLog`: what damaged, empty or missing answers of a broker lead to."""

from dataclasses import replace

import pytest
from aiokafka.protocol.fetch import FetchRequest

from app.delivery.cache import RecordCache
from app.errors import LogUnavailableError, RecordDamagedError, RecordMissingError
from app.log import EVENTS, IMAGES, Position, Record
from app.log.kafka.leaders import UncertainError
from tests.support.kafka_logs import opened_log

# The CRC covers a batch from here on: https://kafka.apache.org/documentation/#recordbatch
CRC_COVERS_FROM = 21


@pytest.fixture
async def impatient_log(kafka):
    """A log whose reads give up soon."""
    async with opened_log(kafka, read_timeout_seconds=1.5) as log:
        yield log


async def test_a_partition_is_unknown_only_when_metadata_says_so(impatient_log, monkeypatch):
    async def nobody():
        return False

    with pytest.raises(RecordMissingError):
        await impatient_log.read(IMAGES, Position(7, 0))
    # Another program may have added it since metadata was read last, and no broker answers now.
    monkeypatch.setattr(impatient_log._client, "force_metadata_update", nobody)
    with pytest.raises(LogUnavailableError):
        await impatient_log.read(IMAGES, Position(7, 0))


async def test_a_tail_that_is_given_nothing_says_so(log, monkeypatch):
    async def refuse(*_, **__):
        raise UncertainError("error code 29")

    monkeypatch.setattr(log._fetcher, "_fetch", refuse)
    with pytest.raises(LogUnavailableError, match="does not give the records") as raised:
        await anext(log.tail(EVENTS, 0, 0))
    assert "29" in str(raised.value.__cause__)


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

        whole = await intact(log._topics.names[IMAGES], position, "x", 1, max_bytes=1, wait_ms=1)
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

    async def test_one_that_ends_too_early_is_never_served(self, impatient_log):
        log = impatient_log
        [position] = await log.append(IMAGES, [Record(b"key", bytes(500), (), 0)])
        intact = log._fetcher._fetch
        kept = 0

        async def fetch(*arguments, **options):
            answer = await intact(*arguments, **options)
            return replace(answer, batches=answer.batches[:kept])

        log._fetcher._fetch = fetch
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
        await log.stop()
        for neighbour in fetched.neighbours:
            assert await cache.read(neighbour.position, bool) == neighbour
