"""Three Apache Kafka nodes on loopback, each broker and controller, as in production.

Hides how a quorum is formatted and started. Replication is 3, `min.insync.replicas` 2, and a node
that is gone is noticed within seconds. Signal each node by itself; every call blocks.

Recipe: https://kafka.apache.org/documentation/#kraft_nodes; six seconds to start, seen on 4.3.1.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dev.kafka.broker import JVM_OPTIONS, Broker, new_uuid
from dev.kafka.ports import HOST, free_port

NODES = 3
REPLICATED: Mapping[str, str] = {
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Replicas have a listener of their own, so that tests can tamper with that of the clients.
    "inter.broker.listener.name": "INTERNAL",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "replica.lag.time.max.ms": "4000",
    # If the dead node was the active controller too, another one is elected first, and only then
    # counts the session of the broker: with 2 s it took 6.3 s until there was a leader.
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
}


class Cluster:
    """Brokers that replicate each other; their node ids are 1, 2 and 3.

    Args:
        data_dir: Holds a folder for each node.
        properties: Broker options, over the ones that this class sets.
        jvm_options: Passed to Java as they are.
    """

    def __init__(
        self,
        data_dir: Path,
        properties: Mapping[str, str] | None = None,
        jvm_options: Sequence[str] = JVM_OPTIONS,
    ) -> None:
        controllers = [free_port() for _ in range(NODES)]
        quorum = [f"{HOST}:{port}" for port in controllers]
        voters = [
            f"{number}@{address}:{new_uuid()}" for number, address in enumerate(quorum, start=1)
        ]
        formatting = ("-t", new_uuid(), "--initial-controllers", ",".join(voters))
        shared = {**REPLICATED, "controller.quorum.bootstrap.servers": ",".join(quorum)}
        self.brokers = [
            _member(
                data_dir, number, port, formatting, {**shared, **(properties or {})}, jvm_options
            )
            for number, port in enumerate(controllers, start=1)
        ]

    @property
    def bootstrap_servers(self) -> str:
        """The addresses for clients, `host:port,…`."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def node(self, number: int) -> Broker:
        """Return the broker with a node id."""
        return self.brokers[number - 1]

    def start(self) -> None:
        """Start all nodes at once: none is ready before most of them run."""
        try:
            with ThreadPoolExecutor(NODES) as threads:
                list(threads.map(Broker.start, self.brokers))
        # An interrupt, too, must not leave brokers behind.
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End all nodes at once. Does nothing for those that do not run."""
        for broker in self.brokers:
            broker.kill()


def _member(
    data_dir: Path,
    number: int,
    controller_port: int,
    format_options: tuple[str, ...],
    properties: Mapping[str, str],
    jvm_options: Sequence[str],
) -> Broker:
    port, internal = free_port(), free_port()
    listeners = f"PLAINTEXT://{HOST}:{port},INTERNAL://{HOST}:{internal}"
    own = {
        "node.id": str(number),
        "listeners": f"{listeners},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": listeners,
    }
    return Broker(
        data_dir / f"node-{number}",
        port=port,
        controller_port=controller_port,
        properties={**own, **properties},
        format_options=format_options,
        jvm_options=jvm_options,
    )
