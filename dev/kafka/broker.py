"""One Apache Kafka node in KRaft mode on loopback, for the tests and for `make kafka`.

Hides how a broker is formatted and started, how it says that it is ready, and the files of its data
directory:

    node.properties   rewritten by every start
    pid               of the broker that uses the directory; may be stale, see pidfile.py
    broker.log        of the current start; broker.log.1 is the previous one
    logs/             Kafka's own

Recipe: Kafka's KRaft quick start (https://kafka.apache.org/documentation/#kraft), seen on 4.3.1:
one second to format, two to start, 320 MB resident. Every call blocks; use `asyncio.to_thread`.
"""

import base64
import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.kafka.jars import JARS
from dev.kafka.lifeline import Lifeline
from dev.kafka.pidfile import NODE_PROPERTIES, PID, find_running
from dev.kafka.ports import HOST, free_port, is_free
from dev.maven import java

__all__ = ["Broker", "BrokerError", "free_port", "new_uuid"]

LOG4J = Path(__file__).with_name("log4j2.properties")
READY = "Kafka Server started"
START_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 30.0
PAUSE_TIMEOUT_SECONDS = 1.0
POLL_SECONDS = 0.05
JVM_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
# Beside the jars, if there is one; see archive.py.
ARCHIVE = "broker.jsa"

# One small node holds every replica; the defaults are for clusters of three and many cores.
SINGLE_NODE: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A misspelt topic is an error, never a new topic.
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the old registration must expire before the new one is accepted: with the default
    # of 9 s a restart took 12 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "log.cleaner.dedupe.buffer.size": "16777216",
}


class BrokerError(Exception):
    """The broker did not start; the message has the end of its log."""


class Broker:
    """A broker on a data directory of its own, started and stopped any number of times.

    Args:
        data_dir: Created if it is missing; every start uses its content.
        port: Of the client listener; by default a free one, which every start uses.
        controller_port: Of the KRaft controller; likewise.
        properties: Broker options, over the ones that this class sets.
        format_options: For a member of a cluster, see `cluster`; by default the node is alone.
        jvm_options: Passed to Java as they are.
        detached: The broker survives this process; otherwise it ends with it, whatever happens.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        controller_port: int | None = None,
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
        jvm_options: Sequence[str] = JVM_OPTIONS,
        detached: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port or free_port()
        self.controller_port = controller_port or free_port()
        self.log_path = self.data_dir / "broker.log"
        self._properties = dict(properties or {})
        self._format_options = format_options or ("-t", new_uuid(), "--standalone")
        self._jvm_options = list(jvm_options)
        self._detached = detached
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process that this object started, while it lives (paused included)."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Format the data directory if it is new, start the broker, and wait until it is ready.

        Raises:
            BrokerError: It runs already, a port is in use, or it ended or was not ready in time.
            JarsUnavailableError: The jars are missing, and could not be fetched.
        """
        if (running := self.pid or find_running(self.data_dir)) is not None:
            raise BrokerError(f"a broker (pid {running}) already uses {self.data_dir}")
        self._close()
        for port in (self.port, self.controller_port):
            if not is_free(port):
                raise BrokerError(f"port {port} on {HOST} is in use")
        command = self._java_command(JARS.fetch())
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._write_properties()
        self._format(command)
        try:
            self._launch([*command, "kafka.Kafka", str(self._properties_path)])
            self._await_ready(timeout_seconds)
        # An interrupt, too, must not leave a broker behind.
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        """Stop cleanly, or by SIGKILL after the timeout. Does nothing when it does not run."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End it at once by SIGKILL, as a crash would. Does nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._close()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, and no request is answered."""
        self._signal(signal.SIGSTOP)
        # Its threads run on until the kernel has stopped each; a second pause reports nothing.
        deadline = time.monotonic() + PAUSE_TIMEOUT_SECONDS
        while self.pid and os.waitpid(self.pid, os.WUNTRACED | os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                return
            time.sleep(POLL_SECONDS / 10)

    def resume(self) -> None:
        """Continue it (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 30) -> str:
        """Return the last lines of the current start's log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    @property
    def _properties_path(self) -> Path:
        return self.data_dir / NODE_PROPERTIES

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            raise BrokerError("the broker does not run")
        self._process.send_signal(number)

    def _write_properties(self) -> None:
        client = f"PLAINTEXT://{self.bootstrap_servers}"
        controller = f"{HOST}:{self.controller_port}"
        properties = {
            **SINGLE_NODE,
            "listeners": f"{client},CONTROLLER://{controller}",
            "advertised.listeners": client,
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self.data_dir / "logs"),
            **self._properties,
        }
        lines = [f"{name}={_escape(value)}\n" for name, value in properties.items()]
        self._properties_path.write_text("".join(lines))

    def _java_command(self, jars: Path) -> list[str]:
        # Java expands the star itself.
        logging = f"-Dlog4j2.configurationFile={LOG4J}"
        archive = jars / ARCHIVE
        sharing = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
        return [java(), *self._jvm_options, *sharing, logging, "-cp", f"{jars}/*"]

    def _format(self, command: list[str]) -> None:
        if (self.data_dir / "logs" / "meta.properties").exists():
            return
        arguments = ["format", "-c", str(self._properties_path), *self._format_options]
        result = subprocess.run(
            [*command, "kafka.tools.StorageTool", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_TIMEOUT_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            lines = [line for line in result.stdout.splitlines() if not line.startswith("\tat ")]
            raise BrokerError("\n".join([f"formatting {self.data_dir} failed:", *lines]))

    def _launch(self, command: list[str]) -> None:
        if self.log_path.exists():
            self.log_path.replace(self.data_dir / "broker.log.1")
        if not self._detached:
            self._lifeline = Lifeline()
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                start_new_session=self._detached,
                process_group=self._lifeline.group if self._lifeline else None,
            )
        (self.data_dir / PID).write_text(f"{self._process.pid}\n")

    def _await_ready(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while READY not in self.log_path.read_text(errors="replace"):
            if self.pid is None:
                raise BrokerError(f"the broker ended while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise BrokerError(f"not ready after {timeout_seconds:g} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def _close(self) -> None:
        if self._process is not None:
            (self.data_dir / PID).unlink(missing_ok=True)
            self._process = None
        if self._lifeline is not None:
            self._lifeline.release()
            self._lifeline = None


def new_uuid() -> str:
    """Return an id for a cluster or a directory."""
    # Kafka's Uuid: 16 bytes in unpadded URL-safe Base64; a leading "-" would look like an option.
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="))[0] == "-":
        pass
    return text


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\")
