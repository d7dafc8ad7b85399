"""The end of a process when its starter is gone, by SIGKILL included.

A watcher reads from a pipe whose other end only the starter holds; at the end of file it kills its
own process group, which the watched process has joined. A group's number is not reused while a
member lives, so no other process is ever signalled. Unlike Linux's PR_SET_PDEATHSIG this also works
on macOS, and after the thread that started the process has ended.
"""

import subprocess
import sys

_WATCHER = "import os, signal, sys; sys.stdin.buffer.read(); os.killpg(0, signal.SIGKILL)"


class Lifeline:
    """A process group that ends with this process; start others with `process_group=self.group`."""

    def __init__(self) -> None:
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self.group = self._watcher.pid

    def release(self) -> None:
        """Stop watching; call it once the watched process has ended."""
        self._watcher.kill()
        self._watcher.communicate()
