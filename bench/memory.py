"""Peak memory while two hundred images of 20 MB are uploaded at once, in each way there is.

- *main* is the gateway's own process and *workers* the sum of its codec processes, each at its own
  peak (VmHWM, proc(5));
- *together* is the most that all of them held at once: the sum of their PSS, sampled, in which
  shared memory counts once.
"""

import time

from bench.samples import kilobytes
from bench.targets import gateway
from tests.support.pressure import WAYS, Together, large_images, process_bytes, upload_at_once

UPLOADS = 200


async def measure(target, folder):
    """Return a row for each way."""
    pictures = large_images()
    return [await _measure_way(target, folder / way, way, pictures) for way in WAYS]


async def _measure_way(target, folder, way, pictures):
    with gateway(target, folder) as process:
        together = Together(process)
        before = together.sample()
        async with together:
            started = time.perf_counter()
            answers = await upload_at_once(process.address, way, pictures, UPLOADS)
            seconds = time.perf_counter() - started
        workers = sum(process_bytes(pid, "status", "VmHWM") for pid in process.worker_pids())
        counts = {status: str(answers.statuses[status]) for status in ("201", "503", "429")}
        rest = answers.statuses.total() - sum(map(int, counts.values()))
        return {
            "way": way,
            "each": kilobytes(len(pictures[0])),
            "at once": str(UPLOADS),
            **counts,
            "others": str(rest),
            "seconds": f"{seconds:.0f}",
            "idle": _megabytes(before),
            "main": _megabytes(process_bytes(process.process.pid, "status", "VmHWM")),
            "workers": _megabytes(workers),
            "together": _megabytes(together.peak_bytes),
        }


def _megabytes(size_bytes):
    return f"{size_bytes / 1e6:,.0f} MB"
