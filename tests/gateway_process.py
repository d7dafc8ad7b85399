"""A gateway as people run it: a process of its own, reached over real HTTP."""

import os
import re
import signal
import subprocess
import sys
import threading

import httpx

START_SECONDS = 60


class GatewayProcess:
    """`imagegate serve` on a free port, with its settings in the environment.

    Args:
        data_dir: Folder of the embedded log and the catalog.
        environment: `IMAGEGATE_…` settings.
    """

    def __init__(self, data_dir, **environment):
        self.data_dir = data_dir
        self.environment = {name: str(value) for name, value in environment.items()}
        self.output = []
        self.url = None
        self.process = None

    def start(self, *arguments):
        """Start it, and return once it listens and is ready."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
        self.output = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", "0", *arguments],
            env=clean | {"IMAGEGATE_DATA_DIR": str(self.data_dir)} | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        listening = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(listening,), daemon=True)
        self.reader.start()
        if not listening.wait(START_SECONDS) or self.url is None:
            self.process.kill()
            raise AssertionError("the gateway did not start:\n" + "".join(self.output))
        self.await_ready()
        return self

    def await_ready(self, seconds=START_SECONDS):
        transport = httpx.HTTPTransport(retries=3)
        with httpx.Client(transport=transport, base_url=self.url) as client:
            for _ in range(int(seconds / 0.05)):
                if client.get("/health/ready").status_code == httpx.codes.OK:
                    return
                threading.Event().wait(0.05)
        raise AssertionError("the gateway is not ready:\n" + "".join(self.output))

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
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def async_client(self, **options):
        """Return an asynchronous client; close it."""
        return httpx.AsyncClient(base_url=self.url, timeout=60, **options)

    def resident_bytes(self):
        """Return the resident memory of the gateway's main process (proc(5))."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.wait(10)

    def _read(self, listening):
        for line in self.process.stdout:
            self.output.append(line)
            if found := re.match(r"imagegate listens on (http://\S+)", line):
                self.url = found.group(1)
                listening.set()
        listening.set()
