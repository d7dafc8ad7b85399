"""A gateway as people run it: a process of its own, reached over real HTTP."""

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support import forked
from tests.support.described import checked, checked_async

START_SECONDS = 60
_POLL_SECONDS = 0.02
# For tests in which a broker does not answer.
APPEND_SECONDS = 2.0
BOUNDED = {
    "IMAGEGATE_KAFKA__APPEND_TIMEOUT_SECONDS": APPEND_SECONDS,
    "IMAGEGATE_KAFKA__READ_TIMEOUT_SECONDS": 2,
}


class GatewayProcess:
    """`imagegate serve` on a free port, with its settings in the environment.

    Args:
        data_dir: Folder of the embedded log and the catalog.
        program: How to start `imagegate` instead of by a fork, which is four times as fast.
        environment: `IMAGEGATE_…` settings.
    """

    def __init__(self, data_dir, *, program=None, **environment):
        self.data_dir = data_dir
        self.environment = {name: str(value) for name, value in environment.items()}
        self.program = program
        if not (program or forked.POSSIBLE):
            self.program = [sys.executable, "-m", "app"]
        self.output = []
        self.url = None
        self.process = None

    def start(self, *arguments):
        """Start it, and return once it listens and is ready."""
        self.spawn("--port", "0", *arguments)
        return self

    def spawn(self, *arguments, wait=True):
        """Start it with these arguments alone; `wait` as `start` does."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
        self.output, self.url = [], None
        environment = clean | {"IMAGEGATE_DATA_DIR": str(self.data_dir)} | self.environment
        self.process = self._launch(["serve", *arguments], environment)
        listening = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(listening,), daemon=True)
        self.reader.start()
        if wait:
            self._await_listening(listening)

    def _await_listening(self, listening):
        if not listening.wait(START_SECONDS) or self.url is None:
            self.kill()
            raise AssertionError("the gateway did not start:\n" + "".join(self.output))
        self.await_ready()

    def refuses(self, *arguments, seconds=START_SECONDS):
        """Start it with arguments that it refuses; return the exit status and its output."""
        self.spawn(*arguments, wait=False)
        return self.wait(seconds), "".join(self.output)

    def await_ready(self, seconds=START_SECONDS):
        transport = httpx.HTTPTransport(retries=3, verify=self.trust())
        with httpx.Client(transport=transport, base_url=self.url) as client:
            for _ in range(int(seconds / 0.05)):
                if client.get("/health/ready").status_code == httpx.codes.OK:
                    return
                threading.Event().wait(0.05)
        raise AssertionError("the gateway is not ready:\n" + "".join(self.output))

    def await_output(self, text, seconds=30):
        """Return the first line with this text, once it is there."""
        until(lambda: any(text in line for line in self.output), seconds)
        return next(line for line in self.output if text in line)

    def terminate(self, seconds=30):
        """Send SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        """Send SIGKILL, and return once it is gone."""
        self.process.kill()
        return self.wait(10)

    def wait(self, seconds):
        status = self.process.wait(seconds)
        self.reader.join(10)
        self.process.stdout.close()
        return status

    def client(self, **options):
        """Return a synchronous client; close it."""
        options = {"verify": self.trust()} | options
        return httpx.Client(base_url=self.url, timeout=60, event_hooks=checked(), **options)

    def async_client(self, **options):
        """Return an asynchronous client; close it."""
        hooks = checked_async()
        options = {"verify": self.trust()} | options
        return httpx.AsyncClient(base_url=self.url, timeout=60, event_hooks=hooks, **options)

    def trust(self):
        """Return what a client knows the gateway by: its own certificate, where it speaks HTTPS."""
        context = ssl.create_default_context()
        if self.url.startswith("https:"):
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(self.environment["IMAGEGATE_HTTP__TLS_CERT_FILE"])
        return context

    def resident_bytes(self):
        """Return the resident memory of the gateway's main process (proc(5))."""
        with Path(f"/proc/{self.process.pid}/statm").open() as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def address(self):
        """Return host and port, for a socket."""
        url = httpx.URL(self.url)
        return url.host, url.port

    def worker_pids(self):
        """Return the codec workers, which are its only children."""
        pid = self.process.pid
        return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def mistakes(self):
        """Return the lines of its output that report an error of its own."""
        marks = ("Traceback", '"status": 500', "internal-error", "never retrieved", "Warning:")
        return [line for line in self.output if any(mark in line for mark in marks)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.wait(10)

    def _launch(self, arguments, environment):
        if not self.program:
            return forked.start(arguments, environment)
        return subprocess.Popen(
            [*self.program, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _read(self, listening):
        for line in self.process.stdout:
            self.output.append(line)
            if found := re.match(r"imagegate listens on (https?://\S+)", line):
                self.url = found.group(1)
                listening.set()
        listening.set()


def until(condition, seconds=30):
    """Wait until a condition holds; return its value."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        threading.Event().wait(_POLL_SECONDS)
    return answer


@pytest.fixture
def new_gateway(tmp_path):
    """Start gateways that end with the test: `new_gateway(IMAGEGATE_…=…)`.

    Without `data_dir` all of them are on one folder: a second call is a restart.
    """
    with ExitStack() as stack:

        def start(*arguments, data_dir=tmp_path / "data", program=None, **environment):
            settings = {"IMAGEGATE_IMAGING__WORKERS": 1} | environment
            gateway = GatewayProcess(data_dir, program=program, **settings)
            return stack.enter_context(gateway).start(*arguments)

        yield start


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def log_settings(request):
    """The settings of a gateway on a new log: the embedded one, and topics on Kafka."""
    if request.param == "embedded":
        return {}
    return on_kafka(request.getfixturevalue("kafka"))


def on_kafka(kafka, prefix=None):
    """Return the settings of a gateway on a broker, with unused topics."""
    return {
        "IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "IMAGEGATE_KAFKA__TOPIC_PREFIX": prefix or f"test-{uuid.uuid4().hex[:8]}-",
        "IMAGEGATE_KAFKA__PARTITIONS": 3,
    }
