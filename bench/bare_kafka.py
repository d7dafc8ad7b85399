"""Kafka's bare counterpart: a pool of aiokafka's producers, and Fetch requests one by one."""

import asyncio
import itertools
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import TopicPartition

from app.log.kafka.settings import KafkaSettings
from bench.rounds import IN_FLIGHT, spread

# The gateway's own numbers, so that only what surrounds them differs.
PARTITIONS, PRODUCERS, CONNECTIONS = (
    KafkaSettings.model_fields[name].default
    for name in ("partitions", "producers", "read_connections")
)
_BATCH_BYTES = 1_048_576
_TOPIC_CONFIG = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}


class BareKafka:
    """A topic, written and read as the gateway does. An asynchronous context manager."""

    def __init__(self, servers, topic, producers=PRODUCERS, max_bytes=_BATCH_BYTES):
        self.name = topic
        self._servers = servers
        self._topic = topic
        self._count = producers
        self._config = _TOPIC_CONFIG | {"max.message.bytes": str(max_bytes)}
        self._partitions = itertools.cycle(range(PARTITIONS))
        self._stack = AsyncExitStack()

    async def __aenter__(self):
        await self._create_topic()
        self._producers = [await self._started(self._producer()) for _ in range(self._count)]
        self._client = AIOKafkaClient(bootstrap_servers=self._servers)
        await self._client.bootstrap()
        self._stack.push_async_callback(self._client.close)
        await self._client.set_topics([self._topic])
        return self

    async def __aexit__(self, *_):
        await self._stack.aclose()

    async def write(self, images):
        """Send images, each a list of values; return the addresses of each image's records."""
        addresses = []

        async def one(_, image):
            sent = [await self._send(next(self._partitions), value) for value in image]
            done = await asyncio.gather(*sent)
            addresses.append([(record.partition, record.offset) for record in done])

        await spread(one, images, range(IN_FLIGHT))
        return addresses

    async def read(self, addresses):
        """Fetch images by the result of `write`, with as many requests at once as the gateway."""

        async def one(worker, image):
            for partition, offset in image:
                await self._fetch(partition, offset, worker % CONNECTIONS)

        await spread(one, addresses, range(IN_FLIGHT))

    async def _create_topic(self):
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            new = NewTopic(self._topic, PARTITIONS, -1, {}, topic_configs=self._config)
            await admin.create_topics([new])
        finally:
            await admin.close()

    def _producer(self):
        return AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=False,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_BATCH_BYTES,
        )

    async def _started(self, part):
        await part.start()
        self._stack.push_async_callback(part.stop)
        return part

    async def _send(self, partition, value):
        producer = self._producers[partition % self._count]
        return await producer.send(self._topic, value, key=b"bench", partition=partition)

    async def _fetch(self, partition, offset, connection):
        request = FetchRequest(1, 1, 1, 0, [(self._topic, [(partition, offset, 1)])])
        leader = self._client.cluster.leader_for_partition(TopicPartition(self._topic, partition))
        response = await self._client.send(leader, request, group=("read", connection))
        if not response.topics[0][1][0][-1]:
            raise RuntimeError(f"nothing at {partition}:{offset}")
