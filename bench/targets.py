"""The two logs that are measured: what a gateway on one is told, and its bare counterpart."""

import uuid
from contextlib import asynccontextmanager, contextmanager

from aiokafka.admin import AIOKafkaAdminClient

from bench.bare_kafka import BareKafka
from bench.bare_sqlite import BareSqlite
from tests.support.gateway_process import GatewayProcess


class Embedded:
    """The embedded log."""

    name = "the embedded log"

    def settings(self):
        """Return the settings of one more gateway."""
        return {}

    def bare(self, folder):
        """Return the bare counterpart, not started."""
        return BareSqlite(folder)


class Kafka:
    """A Kafka at `servers`; all topics begin with a prefix of this object's own."""

    name = "Kafka"

    def __init__(self, servers):
        self.servers = servers
        self._prefix = f"bench-{uuid.uuid4().hex[:8]}-"

    def settings(self):
        """Return the settings of one more gateway, which has topics of its own."""
        return {
            "IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "IMAGEGATE_KAFKA__TOPIC_PREFIX": self.unused_name() + "-",
        }

    def bare(self, folder, **options):  # noqa: ARG002 - the other log lies in it
        """Return the bare counterpart, not started."""
        return BareKafka(self.servers, self.unused_name(), **options)

    async def remove_topics(self):
        """Delete what was measured with."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        try:
            topics = await admin.list_topics()
            await admin.delete_topics([name for name in topics if name.startswith(self._prefix)])
        finally:
            await admin.close()

    def unused_name(self):
        """Return the name of one more topic, or the prefix of several."""
        return self._prefix + uuid.uuid4().hex[:8]


@contextmanager
def gateway(target, folder, before="pass", **settings):
    """Run a gateway on the target with these further settings, on an empty log."""
    folder.mkdir()
    log = str(folder / "stderr.log")
    # It logs a line a request: into a file, as a thread that reads them here slows the client.
    before = f"import os; os.dup2(os.open({log!r}, os.O_WRONLY | os.O_CREAT), 2); {before}"
    with GatewayProcess(folder, before=before, **target.settings() | settings) as process:
        yield process.start()
        process.terminate()


@asynccontextmanager
async def removing_topics(kafka):
    """Delete the topics at the end."""
    try:
        yield kafka
    finally:
        await kafka.remove_topics()
