"""The topic of the keys on Kafka: needed, found later, or not there."""

import pytest

from app.errors import ConfigurationError, LogUnavailableError, NotWrittenError
from app.log import IMAGES, KEYS, Position, Record
from app.log.kafka.log import KafkaLog
from app.log.kafka.read_only import ReadOnlyKafkaLog
from app.log.kafka.settings import KafkaSettings
from tests.support import plain
from tests.support.engines import until_async
from tests.support.kafka_logs import new_prefix, opened_log
from tests.support.plain import FITTING

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
