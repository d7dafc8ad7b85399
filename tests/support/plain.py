"""A plain Kafka client: changes to the topics without a line of imagegate."""

from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

# The configuration that a topic needs to fit.
FITTING = {"message_timestamp_type": "LogAppendTime", "retention_ms": -1, "retention_bytes": -1}


async def read(kafka, topic, partitions=1):
    """Return every record of a topic, by partition and offset."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        assigned = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        records = {}
        for partition in assigned:
            while await consumer.position(partition) < ends[partition]:
                record = await consumer.getone(partition)
                records[record.partition, record.offset] = record
        return records
    finally:
        await consumer.stop()


async def write(kafka, topic, *records):
    """Append (key, value) records to partition 0; return the offset of the last."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()
    try:
        for key, value in records:
            sent = await producer.send_and_wait(topic, value, key=key, partition=0)
        return sent.offset
    finally:
        await producer.stop()


@asynccontextmanager
async def admin(kafka):
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create(kafka, topic, partitions=1, **config):
    """Create a topic, and return once the broker lists it; dots are written as underscores."""
    dotted = {name.replace("_", "."): str(value) for name, value in config.items()}
    async with admin(kafka) as client:
        response = await client.create_topics(
            [NewTopic(topic, partitions, 1, topic_configs=dotted)]
        )
        assert [code for _, code, *_ in response.topic_errors] == [0]
        while topic not in await client.list_topics():
            pass


async def configuration(kafka, topic):
    async with admin(kafka) as client:
        [response] = await client.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic)]
        )
        return {entry[0]: entry[1] for entry in response.resources[0][4]}


async def partition_count(kafka, topic):
    async with admin(kafka) as client:
        [described] = await client.describe_topics([topic])
        return len(described["partitions"])


async def delete(kafka, *topics):
    """Delete topics, and return once they are gone."""
    async with admin(kafka) as client:
        await client.delete_topics(list(topics))
        while set(topics) & set(await client.list_topics()):
            pass


async def alter(kafka, topic, **config):
    """Give a topic this configuration and no other; dots are written as underscores."""
    dotted = {name.replace("_", "."): str(value) for name, value in config.items()}
    async with admin(kafka) as client:
        [response] = await client.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, configs=dotted)]
        )
        assert [code for code, *_ in response.resources] == [0]


async def add_partitions(kafka, topic, total):
    async with admin(kafka) as client:
        response = await client.create_partitions({topic: NewPartitions(total)})
        assert [code for _, code, *_ in response.topic_errors] == [0]


async def delete_before(kafka, topic, partition, offset):
    """Delete the records of a partition below an offset, as retention does."""
    async with admin(kafka) as client:
        await client.delete_records(
            {TopicPartition(topic, partition): RecordsToDelete(before_offset=offset)}
        )
