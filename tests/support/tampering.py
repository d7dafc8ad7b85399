"""Reads from Kafka through a client whose answers a test changes."""

from contextlib import asynccontextmanager

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest

from app.log import EVENTS, IMAGES
from app.log.kafka.fetch import Fetcher
from app.log.kafka.leaders import Leaders
from tests.support.kafka_logs import new_prefix, opened_log


class TamperingClient:
    """An aiokafka client that passes every answer to a fetch through `tamper`.

    Attributes:
        tamper: Changes the response to a fetch in place.
        metadata: Whether a broker answers with metadata.
        fetches: Number of fetches so far.
    """

    def __init__(self, client):
        self._client = client
        self.tamper = lambda response: None
        self.metadata = True
        self.fetches = 0

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def send(self, node, request, **options):
        response = await self._client.send(node, request, **options)
        if isinstance(request, FetchRequest):
            self.fetches += 1
            self.tamper(response)
        return response

    async def force_metadata_update(self):
        return self.metadata and await self._client.force_metadata_update()


class Reads:
    """A log to append to, and a fetcher that reads its topics through a tampering client."""

    def __init__(self, log, prefix, client, timeout_seconds):
        self.log = log
        self.client = client
        self._prefix = prefix
        self._fetcher = Fetcher(client, Leaders(client, timeout_seconds), 1, timeout_seconds)

    async def read(self, position):
        """Read a record of `images`."""
        return (await self._fetcher.read(f"{self._prefix}{IMAGES}", position)).record

    def tail(self, topic):
        return self._fetcher.tail(f"{self._prefix}{topic}", 0, 0)


@asynccontextmanager
async def tampered_reads(kafka, timeout_seconds=10):
    prefix = new_prefix()
    async with opened_log(kafka, topic_prefix=prefix) as log:
        client = TamperingClient(AIOKafkaClient(bootstrap_servers=kafka.bootstrap_servers))
        await client.bootstrap()
        await client.set_topics([f"{prefix}{role}" for role in (IMAGES, EVENTS)])
        yield Reads(log, prefix, client, timeout_seconds)
        await client.close()


def batches(response):
    """The record batches of a fetch's response."""
    return response.topics[0][1][0][-1] or b""


def replace_batches(response, data):
    [(topic, [(*fields, _)])] = response.topics
    response.topics = [(topic, [(*fields, data)])]


def replace_error(response, code):
    [(topic, [(partition, _, *fields)])] = response.topics
    response.topics = [(topic, [(partition, code, *fields)])]
