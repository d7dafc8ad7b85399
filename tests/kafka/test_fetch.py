"""Reads of `KafkaLog`: what damaged, empty or missing answers of a broker lead to."""

import pytest

from app.delivery.cache import RecordCache
from app.errors import LogUnavailableError, RecordDamagedError, RecordMissingError
from app.log import EVENTS, IMAGES, Position, Record
from tests.support.tampering import batches, replace_batches, replace_error, tampered_reads

# The CRC covers a batch from here on: https://kafka.apache.org/documentation/#recordbatch
CRC_COVERS_FROM = 21


@pytest.fixture
async def reads(kafka):
    async with tampered_reads(kafka) as reads:
        yield reads


@pytest.fixture
async def impatient_reads(kafka):
    """Reads that give up soon."""
    async with tampered_reads(kafka, timeout_seconds=0.5) as reads:
        yield reads


async def test_a_partition_is_unknown_only_when_metadata_says_so(impatient_reads):
    with pytest.raises(RecordMissingError):
        await impatient_reads.read(Position(7, 0))
    # Another program may have added it since metadata was read last, and no broker answers now.
    impatient_reads.client.metadata = False
    with pytest.raises(LogUnavailableError):
        await impatient_reads.read(Position(7, 0))


async def test_a_tail_without_records_raises_and_names_the_cause(reads):
    reads.client.tamper = lambda response: replace_error(response, 29)
    with pytest.raises(LogUnavailableError, match="does not return the records") as raised:
        await anext(reads.tail(EVENTS))
    assert "29" in str(raised.value.__cause__)


@pytest.mark.kafka
class TestBatches:
    async def test_one_that_was_damaged_on_its_way_is_never_served(self, reads):
        value = bytes(range(256)) * 2
        [position] = await reads.log.append(IMAGES, [Record(b"key", value, (("h", b"x"),), 0)])
        sizes, damaged = set(), CRC_COVERS_FROM

        def damage(response):
            data = bytearray(batches(response))
            sizes.add(len(data))
            data[damaged] ^= 0x55
            replace_batches(response, bytes(data))

        reads.client.tamper = damage
        with pytest.raises(RecordDamagedError):
            await reads.read(position)
        [size] = sizes
        for damaged in range(CRC_COVERS_FROM, size, 17):  # noqa: B007 - damage sees it
            with pytest.raises(RecordDamagedError):
                await reads.read(position)
        with pytest.raises(RecordDamagedError):
            await anext(reads.tail(IMAGES))

    async def test_one_that_was_damaged_once_is_fetched_again(self, reads):
        [position] = await reads.log.append(IMAGES, [Record(b"key", b"value", (), 0)])

        def damage_the_first(response):
            if reads.client.fetches == 1:
                data = batches(response)
                replace_batches(response, data[:-1] + bytes([data[-1] ^ 1]))

        reads.client.tamper = damage_the_first
        assert (await reads.read(position)).value == b"value"
        assert reads.client.fetches == 2

    async def test_one_that_ends_too_early_is_never_served(self, impatient_reads):
        reads, kept = impatient_reads, 0
        [position] = await reads.log.append(IMAGES, [Record(b"key", bytes(500), (), 0)])

        def cut(response):
            replace_batches(response, batches(response)[:kept])

        reads.client.tamper = cut
        with pytest.raises(LogUnavailableError):
            await reads.read(position)
        for kept in (1, 11, 12, 61, 300, 570):  # noqa: B007 - cut sees it
            with pytest.raises(RecordDamagedError):
                await reads.read(position)

    async def test_after_an_answer_without_topics_the_request_is_sent_again(self, reads):
        """The answer to a client that is over its quota."""
        [position] = await reads.log.append(IMAGES, [Record(b"key", b"value", (), 0)])

        def throttle_the_first(response):
            if reads.client.fetches == 1:
                response.topics = []

        reads.client.tamper = throttle_the_first
        assert (await reads.read(position)).value == b"value"
        assert reads.client.fetches == 2

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
