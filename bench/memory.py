"""Peak memory while a hundred large images are uploaded at once.

- *main* is the gateway's own process and *workers* the sum of its codec processes, each at its own
  peak (VmHWM, proc(5));
- *together* is the most that all of them held at once: the sum of their PSS, sampled, in which
  shared memory counts once.
"""

import asyncio
import re
import time
from collections import Counter
from pathlib import Path

from bench.http_client import connected
from bench.samples import kilobytes
from bench.targets import gateway
from tests.support import images

UPLOADS = 100
_SAMPLE_SECONDS = 0.1


async def measure(target, folder):
    """Return the one row of the table."""
    # A photo that is encoded again, and a PNG that is kept.
    photos = (
        images.jpeg(images.photo((4780, 4780), noise=60), quality=95),
        images.png(images.photo((2285, 2285), noise=120)),
    )
    with gateway(target, folder / "memory") as process:
        together = _Together(process)
        before = together.sample()
        async with connected(*process.address, UPLOADS) as connections, together:
            started = time.perf_counter()
            uploads = [_status(each, photos[n % 2]) for n, each in enumerate(connections)]
            statuses = Counter(await asyncio.gather(*uploads))
            seconds = time.perf_counter() - started
        workers = sum(_bytes(pid, "status", "VmHWM") for pid in process.worker_pids())
        return [
            {"each": kilobytes(len(photos[0])), "at once": str(UPLOADS)}
            | {status: str(count) for status, count in sorted(statuses.items())}
            | {
                "seconds": f"{seconds:.0f}",
                "idle": _megabytes(before),
                "main": _megabytes(_bytes(process.process.pid, "status", "VmHWM")),
                "workers": _megabytes(workers),
                "together": _megabytes(together.peak_bytes),
            }
        ]


async def _status(connection, photo):
    """Upload; return the status, or that there was none."""
    try:
        return str((await connection.ask("POST /images", photo)).status)
    except ConnectionError:
        return "cut off"


class _Together:
    """Samples the memory of a gateway and its workers, as long as it is entered."""

    def __init__(self, process):
        self.peak_bytes = 0
        self._process = process

    async def __aenter__(self):
        self._task = asyncio.create_task(self._run())

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.wait({self._task})

    def sample(self):
        """Return the bytes held now."""
        pids = {self._process.process.pid, *self._process.worker_pids()}
        return sum(_bytes(pid, "smaps_rollup", "Pss") for pid in pids)

    async def _run(self):
        while True:
            self.peak_bytes = max(self.peak_bytes, await asyncio.to_thread(self.sample))
            await asyncio.sleep(_SAMPLE_SECONDS)


def _bytes(pid, file, name):
    """Return a number of proc(5); 0 for a process that has just gone."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def _megabytes(size_bytes):
    return f"{size_bytes / 1e6:,.0f} MB"
