"""The memory of a gateway and its workers: its peak, and what the documents allow."""

import asyncio
import os
from pathlib import Path

from app.settings import Settings

# docs/operations.md, Sizing: the gateway and a worker when idle, and a worker that decodes as many
# pixels as are allowed by default.
_IDLE_BYTES = 76_000_000
_WORKER_BYTES = 1_000_000_000
# What the allocator keeps, and SQLite's caches: tests/process/test_slow_readers.py has measured
# up to 4 MB for each of 20 readers.
_KEPT_BYTES = 100_000_000
_SAMPLE_SECONDS = 0.1


def allowed_gateway_bytes():
    """Return the most that the gateway may have: idle, and every budget in use.

    All sizes in the section of downloads are memory for all of them at once.
    """
    settings = Settings()
    downloads = settings.delivery.model_dump().items()
    budgets = [value for name, value in downloads if name.endswith("_bytes")]
    return _IDLE_BYTES + _KEPT_BYTES + settings.upload.budget_bytes + sum(budgets)


def allowed_worker_bytes():
    """Return the most that a worker may have."""
    return _WORKER_BYTES


class Memory:
    """The peaks, sampled while `watch` runs."""

    def __init__(self, gateway):
        self.worker_bytes = 0
        self._gateway = gateway

    @property
    def gateway_bytes(self):
        """The gateway's peak since its start (VmHWM, proc_pid_status(5))."""
        status = Path(f"/proc/{self._gateway.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    async def watch(self):
        """Sample the largest worker, for ever."""
        while True:
            sizes = map(_resident_bytes, self._gateway.worker_pids())
            self.worker_bytes = max(self.worker_bytes, *sizes, 0)
            await asyncio.sleep(_SAMPLE_SECONDS)


def _resident_bytes(pid):
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):  # replaced in between
        return 0
