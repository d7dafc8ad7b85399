"""The CPU that a process uses while it does some work.

On a shared machine it is steadier than the rate. It is counted in hundredths of a second.
"""

import os
from pathlib import Path


class Counted:
    """The CPU of a process during works of one kind."""

    def __init__(self, pid):
        self._pid = pid
        self._seconds = 0.0

    def counting(self, work):
        """Return `work`, which then counts the CPU that the process uses meanwhile."""

        async def run():
            before = cpu_seconds(self._pid)
            await work()
            self._seconds += cpu_seconds(self._pid) - before

        return run

    def taken(self):
        """Return what was counted, in seconds, and begin again."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def cpu_seconds(pid):
    """Return the CPU that a process has used, in user and kernel mode (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
