"""Peak memory of work on an image, measured in a fresh process that does nothing else.

    python -m tests.support.peak refused

`ru_maxrss` only rises, and a process inherits it from its parent; `VmHWM` can be reset (proc(5)).
"""

import json
import re
import subprocess
import sys
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path

from app.errors import ImageLimitError
from tests.support import images
from tests.support.developing import LIMITS, develop


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory beyond that of the imported modules: Python's own, and the process's."""

    traced_bytes: int
    resident_bytes: int


def peak_of_refusal(data: bytes) -> Peak:
    """Measure `develop` with an image that is refused by its limits."""
    return _peak_of(data, "refused")


def peak_of_storing(data: bytes) -> Peak:
    """Measure `develop` with an image that is stored."""
    return _peak_of(data, "stored")


def _peak_of(data: bytes, outcome: str) -> Peak:
    command = [sys.executable, "-m", "tests.support.peak", outcome]
    result = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    return Peak(**json.loads(result.stdout))


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def _measured(data: bytes, outcome: str) -> None:
    try:
        develop(data, LIMITS)
        seen = "stored"
    except ImageLimitError:
        seen = "refused"
    assert seen == outcome, f"the image is {seen}"


def main() -> None:
    data, outcome = sys.stdin.buffer.read(), sys.argv[1]
    # Late imports happen now.
    develop(images.png(), LIMITS)
    _reset_peak()
    before = _peak_bytes()
    _measured(data, outcome)
    resident = _peak_bytes() - before
    tracemalloc.start()
    _measured(data, outcome)
    _, traced = tracemalloc.get_traced_memory()
    sys.stdout.write(json.dumps(asdict(Peak(traced, resident))))


if __name__ == "__main__":
    main()
