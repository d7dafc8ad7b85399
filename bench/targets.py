"""The two logs that are measured: the settings of a gateway on one, and its bare counterpart."""

import sys
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

    def bare(self, folder, **options):  # noqa: ARG002 - of the other log
        """Return the bare counterpart, not started."""
        return BareKafka(self.servers, self.unused_name(), **options)

    async def remove_topics(self):
        """Delete all topics of this object."""
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
def gateway(target, folder, before="pass", python=sys.executable, **settings):
    """Run a gateway on the target with these further settings, on an empty log.

    Args:
        target: An `Embedded` or a `Kafka`.
        folder: Its data folder, which must not exist.
        before: Python that runs in the process before the gateway starts.
        python: The Python that runs it.
        settings: `IMAGEGATE_…` variables.
    """
    folder.mkdir()
    # Into a file, as a thread that reads a line for each request here would slow the client.
    log = str(folder / "stderr.log")
    script = (
        f"import os, sys; os.dup2(os.open({log!r}, os.O_WRONLY | os.O_CREAT), 2); {before};"
        " import runpy; runpy.run_module('app', run_name='__main__')"
    )
    program = [python, "-c", script]
    with GatewayProcess(folder, program=program, **target.settings() | settings) as process:
        yield process.start()
        process.terminate()


@asynccontextmanager
async def removing_topics(kafka):
    """Delete the topics at the end."""
    try:
        yield kafka
    finally:
        await kafka.remove_topics()
