"""Finding and stopping a broker that another process started, and never any other process.

The pid file may be stale: killed brokers leave it, and pids are reused. A pid counts only while its
command line is that of a broker on this very data directory.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

PID = "pid"
NODE_PROPERTIES = "node.properties"
POLL_SECONDS = 0.05


def find_running(data_dir: Path) -> int | None:
    """Return the pid of the broker on this data directory; None when the pid file is stale."""
    try:
        pid = int((data_dir.resolve() / PID).read_text())
    except (FileNotFoundError, ValueError):
        return None
    arguments = _arguments(pid)
    ours = "kafka.Kafka" in arguments and str(data_dir.resolve() / NODE_PROPERTIES) in arguments
    return pid if ours else None


def running_port(data_dir: Path) -> int:
    """Return the client port of the last start on this data directory."""
    found = re.search(
        r"(?m)^advertised\.listeners=.*?:(\d+)$", (data_dir / NODE_PROPERTIES).read_text()
    )
    if found is None:
        raise ValueError(f"no port in {data_dir / NODE_PROPERTIES}")
    return int(found[1])


def stop_running(data_dir: Path, timeout_seconds: float) -> int | None:
    """Stop the broker on this data directory, by SIGKILL after the timeout.

    Returns:
        The pid of the stopped broker; None when there was none.
    """
    pid = find_running(data_dir)
    if pid is not None:
        for number in (signal.SIGTERM, signal.SIGCONT):
            _send(pid, number)
        if not _await_end(data_dir, pid, timeout_seconds):
            _send(pid, signal.SIGKILL)
            _await_end(data_dir, pid, timeout_seconds)
    (data_dir / PID).unlink(missing_ok=True)
    return pid


def _send(pid: int, number: signal.Signals) -> None:
    # It may end by itself meanwhile.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _await_end(data_dir: Path, pid: int, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while find_running(data_dir) == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _arguments(pid: int) -> str:
    """Return a process's command line, NULs between the arguments on Linux; "" without one."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        except OSError:
            return ""
    command = ["ps", "-o", "args=", "-ww", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
