"""The broker of `make kafka`: in the background, kept until `make kafka-stop`.

    python -m dev.kafka start | stop

KAFKA_PORT (9092) is its port, KAFKA_DATA (./data/kafka) its data directory. With KAFKA_SECURE=1 it
requires TLS and a password, in ./data/kafka-secure.
"""

import fcntl
import os
import shlex
import sys
from pathlib import Path

from dev.kafka import secure
from dev.kafka.broker import STOP_TIMEOUT_SECONDS, Broker, BrokerError
from dev.kafka.jars import JARS, kafka_version
from dev.kafka.pidfile import find_running, running_port, stop_running
from dev.kafka.ports import free_port
from dev.maven import JarsUnavailableError

DEFAULT_PORT = "9092"
DEFAULT_DATA = "data/kafka"
DEFAULT_SECURE_DATA = "data/kafka-secure"
USAGE = "usage: python -m dev.kafka start | stop"


def main() -> int:
    """Run one command; return the exit code."""
    commands = {"start": start, "stop": stop}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:  # noqa: PLR2004 - the program and a word
        return _fail(USAGE)
    default = DEFAULT_SECURE_DATA if is_secure() else DEFAULT_DATA
    data_dir = Path(os.environ.get("KAFKA_DATA") or default).resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    # Of two calls at once, the second waits, and then finds the broker of the first.
    with (data_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return commands[sys.argv[1]](data_dir)


def start(data_dir: Path) -> int:
    """Start the broker, unless it runs already, and print how to use it."""
    port = os.environ.get("KAFKA_PORT") or DEFAULT_PORT
    if not port.isdecimal() or not 0 < int(port) < 65_536:  # noqa: PLR2004 - TCP's ports
        return _fail(f"KAFKA_PORT={port} is not a port")
    if (pid := find_running(data_dir)) is not None:
        return _already_running(data_dir, pid, int(port))
    if missing := JARS.missing_tools():
        return _fail(f"Apache Kafka needs Java 17 and Maven: {', '.join(missing)}.")
    fetching = "" if JARS.directory().is_dir() else ", after fetching its jars (54 MB)"
    print(f"Starting Apache Kafka {kafka_version()}{fetching} …", flush=True)
    try:
        broker = _broker(data_dir, int(port))
        broker.start()
    except (BrokerError, JarsUnavailableError) as error:
        hint = " Choose another: make kafka KAFKA_PORT=9192" if "is in use" in str(error) else ""
        return _fail(f"Kafka did not start: {error}.{hint}")
    _describe(data_dir, f"Kafka is ready on {broker.bootstrap_servers}", broker.port)
    return 0


def is_secure() -> bool:
    """Tell whether KAFKA_SECURE asks for TLS and a password."""
    return os.environ.get("KAFKA_SECURE", "") not in ("", "0")


def stop(data_dir: Path) -> int:
    """Stop the broker; its data stays."""
    pid = stop_running(data_dir, STOP_TIMEOUT_SECONDS)
    if pid is None:
        print("Kafka is not running.")
    else:
        print(f"Kafka (pid {pid}) has stopped; its data is still in {_shown(data_dir)}.")
    return 0


def _broker(data_dir: Path, port: int) -> Broker:
    if not is_secure():
        return Broker(data_dir, port=port, detached=True)
    secure.prepare(data_dir)
    controller_port = free_port()
    return Broker(
        data_dir,
        port=port,
        controller_port=controller_port,
        properties=secure.properties(data_dir, port, controller_port),
        format_options=secure.format_options(data_dir),
        detached=True,
    )


def _already_running(data_dir: Path, pid: int, wanted: int) -> int:
    port = running_port(data_dir)
    _describe(data_dir, f"Kafka already runs on 127.0.0.1:{port} (pid {pid})", port)
    if port != wanted:
        return _fail(f"The requested port is {wanted}: run make kafka-stop first.")
    return 0


def _describe(data_dir: Path, state: str, port: int) -> None:
    given = {"IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}
    before = ""
    if is_secure():
        given |= secure.settings(data_dir)
        before = "KAFKA_SECURE=1 "
    variables = " \\\n          ".join(
        f"{name}={shlex.quote(each)}" for name, each in given.items()
    )
    print(
        f"{state}.\n"
        f"  use it  {variables} make run\n"
        f"  log     {_shown(data_dir / 'broker.log')}\n"
        f"  data    {_shown(data_dir)}\n"
        f"  stop    {before}make kafka-stop"
    )


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
