"""The topic of the keys on Kafka: needed, found later, or not there."""

import asyncio
import uuid
from contextlib import aclosing, suppress

import pytest

from app.errors import (
    ConfigurationError,
    LogUnavailableError,
    NotWrittenError,
    OutcomeUnknownError,
    RecordGoneError,
)
from app.log import IMAGES, KEYS, Position, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.read_only import ReadOnlyKafkaLog
from app.log.kafka.settings import KafkaSettings
from dev.kafka.ports import HOST
from tests.support import plain
from tests.support.compaction import compact_until, shredded
from tests.support.engines import until_async
from tests.support.kafka_fixtures import PROPERTIES, Kafka
from tests.support.kafka_logs import new_prefix, opened_log
from tests.support.plain import FITTING
from tests.support.proxy import Proxy

pytestmark = pytest.mark.apache_kafka


async def test_the_topic_is_created_in_shred_alone_and_is_compacted_within_a_day(kafka):
    prefix = new_prefix()
    async with opened_log(kafka, topic_prefix=prefix) as log:
        assert log.partitions(KEYS) == 0
    async with plain.admin(kafka) as admin:
        assert f"{prefix}{KEYS}" not in await admin.list_topics()
    async with opened_log(kafka, topic_prefix=prefix, erasure="shred") as log:
        assert log.partitions(KEYS) == 1
    assert await plain.partition_count(kafka, f"{prefix}{KEYS}") == 1
    config = await plain.configuration(kafka, f"{prefix}{KEYS}")
    expected = {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": "86400000",
        "segment.ms": "86400000",
        "message.timestamp.type": "LogAppendTime",
        "compression.type": "uncompressed",
    }
    assert {name: config[name] for name in expected} == expected
    assert float(config["min.cleanable.dirty.ratio"]) <= 0.1


async def test_a_topic_that_another_gateway_has_created_is_found_without_a_restart(kafka):
    prefix = new_prefix()
    async with opened_log(kafka, topic_prefix=prefix) as log:
        reader = ReadOnlyKafkaLog(
            KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix)
        )
        await reader.start()
        try:
            for each in (log, reader):
                assert each.partitions(KEYS) == 0
                with pytest.raises(LogUnavailableError):
                    await each.read(KEYS, Position(0, 0))
                with pytest.raises(LogUnavailableError):
                    await anext(each.tail(KEYS, 0, 0))
            with pytest.raises(NotWrittenError):
                await log.append(KEYS, [Record(b"key", b"wrapped")])
            # What needs no key goes on.
            assert log.trouble is None
            log.require_writable()
            await log.append(IMAGES, [Record(b"image", b"picture")])

            async with opened_log(kafka, topic_prefix=prefix, erasure="shred") as other:
                [position] = await other.append(KEYS, [Record(b"key", b"wrapped")])

            async def found(log):
                try:
                    return (await log.read(KEYS, position)).record.value == b"wrapped"
                except LogUnavailableError:
                    return False

            for each in (log, reader):
                await until_async(lambda each=each: found(each))
                assert each.partitions(KEYS) == 1

            async def deleted():
                try:
                    return await log.append(KEYS, [Record(b"key", None)])
                except NotWrittenError:
                    return False

            await until_async(deleted)
            assert log.trouble is None
        finally:
            await reader.stop()


async def test_a_topic_that_is_deleted_is_a_trouble_only_where_it_is_needed(kafka):
    for erasure in ("retention", "shred"):
        prefix = new_prefix()
        async with opened_log(kafka, topic_prefix=prefix, erasure="shred"):
            pass
        async with opened_log(kafka, topic_prefix=prefix, erasure=erasure) as log:
            await plain.delete(kafka, f"{prefix}{KEYS}")

            async def missed(log=log, erasure=erasure):
                log._topics.look_soon()
                return log.trouble if erasure == "shred" else not log.partitions(KEYS)

            await until_async(missed)
            if erasure == "shred":
                assert f"no topic {prefix}{KEYS}" in log.trouble
            else:
                assert log.trouble is None
                log.require_writable()
                with pytest.raises(NotWrittenError):
                    await log.append(KEYS, [Record(b"key", None)])


async def test_a_command_creates_no_topic_of_keys_and_names_it(kafka):
    prefix = new_prefix()
    async with opened_log(kafka, topic_prefix=prefix):
        pass
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, erasure="shred"
    )
    log = KafkaLog(settings, must_exist=True)
    with pytest.raises(ConfigurationError, match=f"no topic {prefix}{KEYS}"):
        await log.start()
    await plain.create(kafka, f"{prefix}{KEYS}", **FITTING)
    with pytest.raises(ConfigurationError, match=r"cleanup\.policy=delete, which does not fit"):
        await log.start()


async def test_a_key_with_a_tombstone_leaves_the_files_and_the_others_stay(kafka):
    if kafka.broker is None:
        pytest.skip("the files of the broker at TEST_KAFKA are not here")
    prefix = new_prefix()
    async with opened_log(kafka, topic_prefix=prefix, erasure="shred") as log:
        wrapped = [b"wrapped-%d-" % n + uuid.uuid4().bytes for n in range(4)]
        records = [Record(b"key-%d" % n, value) for n, value in enumerate(wrapped)]
        positions = await log.append(KEYS, records)
        tombstones = await log.append(KEYS, [Record(b"key-0", None), Record(b"key-2", None)])
        await shredded(kafka, f"{prefix}{KEYS}", wrapped[0], wrapped[2])

        # A fetch of a removed offset is answered with the record after it.
        for position in (positions[0], positions[2]):
            with pytest.raises(RecordGoneError):
                await log.read(KEYS, position)
        for n in (1, 3):
            assert (await log.read(KEYS, positions[n])).record.value == wrapped[n]
        # From a removed offset on, and over tombstones, a tail goes on with what is there.
        [last] = await log.append(KEYS, [Record(b"last", b"wrapped")])
        for start in (0, 1, 2):
            seen = {}
            async with asyncio.timeout(30), aclosing(log.tail(KEYS, 0, start)) as tail:
                async for batch in tail:
                    seen |= {each.position: each.value for each in batch.records}
                    if batch.next_offset > last.offset:
                        break
            assert {where: value for where, value in seen.items() if value is not None} == {
                positions[n]: wrapped[n] for n in (1, 3) if n >= start
            } | {last: b"wrapped"}

        # A tombstone goes as well, later: it has told every gateway that was there.
        async def are_gone():
            with suppress(RecordGoneError):
                await log.read(KEYS, tombstones[0])
                return False
            return True

        await compact_until(kafka, f"{prefix}{KEYS}", are_gone)
        assert (await log.read(KEYS, positions[1])).record.value == wrapped[1]


@pytest.fixture
async def proxied(new_broker):
    """A broker that tells its clients to come through a proxy, and the proxy."""
    async with Proxy() as proxy:
        address = f"{HOST}:{proxy.port}"
        options = PROPERTIES | {"advertised.listeners": f"PLAINTEXT://{address}"}
        broker = await asyncio.to_thread(new_broker, options)
        await proxy.start(broker.port)
        yield Kafka(address, "apache", broker), proxy


async def test_a_copy_that_was_held_on_its_way_neither_replaces_a_key_nor_brings_it_back(proxied):
    kafka, proxy = proxied
    prefix = new_prefix()
    options = {"topic_prefix": prefix, "erasure": "shred", "append_timeout_seconds": 6}
    async with opened_log(kafka, **options) as log:
        await log.append(KEYS, [Record(b"first", b"wrapped")])
        proxy.requests.clear()
        appending = asyncio.create_task(log.append(KEYS, [Record(b"late", b"wrapped")]))
        async with asyncio.timeout(5):
            while proxy.held_bytes == 0:
                await asyncio.sleep(0.01)
        held = proxy.hold_and_reset()
        # An image whose key may not be there is not stored, as if no key had been written.
        with pytest.raises(OutcomeUnknownError):
            await appending

        async def tombstone():
            with suppress(NotWrittenError, OutcomeUnknownError):
                return await log.append(KEYS, [Record(b"first", None)])

        await until_async(tombstone)
        held.set()

        async def landed():
            records = (await plain.read(kafka, f"{prefix}{KEYS}")).values()
            return [each.value for each in records if each.key == b"late"]

        await until_async(landed)
        [_] = await landed()
        records = (await plain.read(kafka, f"{prefix}{KEYS}")).values()
        # The last record of a key counts: that of the first image stays erased.
        assert [each.value for each in records if each.key == b"first"][-1] is None
