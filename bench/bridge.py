"""The peer: a bridge from HTTP to Kafka in Go, built from `bench/peers/bridge/` where Go is."""

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).parent / "peers" / "bridge"


def why_not():
    """Say why it cannot be built here, or return an empty text."""
    return "" if shutil.which("go") else "Go is not installed"


@contextmanager
def bridge(servers, topic, folder):
    """Run it before a topic; yield its host and port."""
    binary = folder / "bridge"
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=_SOURCE, check=True)
    with subprocess.Popen(
        [binary, servers, topic], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            host, _, port = process.stdout.readline().strip().rpartition(":")
            yield host, int(port)
        finally:
            process.kill()
