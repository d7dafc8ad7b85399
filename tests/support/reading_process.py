"""A process that reads images, to be killed: `python -m tests.support.reading_process OPTIONS`.

It prints a line for each image that it has handled, its id and the SHA-256 of its bytes.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from imagegate import ImageReader

ROOT = Path(__file__).parents[2]


async def main():
    async with ImageReader(**json.loads(sys.argv[1])) as images:
        say("open")
        async for image in images:
            digest = hashlib.sha256(await image.bytes()).hexdigest()
            say(f"{image.id} {digest}")
    say("end")


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class ReadingProcess:
    """A member of a group in a process of its own."""

    def __init__(self, **options):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
        self.handled = []
        self.is_open = self.is_at_the_end = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.reading_process", json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean,
        )
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        for line in self.process.stdout:
            if line == "open\n":
                self.is_open = True
            elif line == "end\n":
                self.is_at_the_end = True
            elif line.endswith("\n"):
                self.handled.append(tuple(line.split()))

    def kill(self):
        """Send SIGKILL, and return once it is gone and everything that it said is known."""
        self.process.kill()
        return self.wait()

    def wait(self, seconds=60):
        status = self.process.wait(seconds)
        self.thread.join(10)
        self.process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


if __name__ == "__main__":
    asyncio.run(main())
