"""`imagegate` as a process that ends by itself, in an environment that a test names."""

import asyncio
import os
import subprocess
import sys

from tests.support import forked

SECONDS = 120
PROGRAM = [sys.executable, "-m", "app"]


def start(*arguments, **environment):
    """Start it without waiting for its end."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGATE_")}
    arguments = [str(each) for each in arguments]
    environment = clean | {name: str(value) for name, value in environment.items()}
    if forked.POSSIBLE:
        return forked.start(arguments, environment)
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(*arguments, status=0, **environment):
    """Run it to its end, and return what it printed."""
    process = start(*arguments, **environment)
    with process.stdout:
        output = process.stdout.read()
    assert process.wait(SECONDS) == status, output
    return output


class Command:
    """A process whose output is read while it runs; with the part of asyncio's that tests use.

    Attributes:
        stdout, stderr: The streams of what it prints; none for errors that go elsewhere.
    """

    def __init__(self, process, stdout, stderr):
        self._process = process
        self.stdout, self.stderr = stdout, stderr

    @classmethod
    async def start(cls, *arguments, environment, stderr=None):
        """Start it; `stderr` is a descriptor, if its errors go elsewhere."""
        arguments = [str(each) for each in arguments]
        (output, writing), (errors, failing) = os.pipe(), os.pipe()
        try:
            ends = writing, failing if stderr is None else stderr
            process = _start_into(*ends, arguments, environment)
        finally:
            os.close(writing)
            os.close(failing)
        return cls(process, await _Stream.of(output), await _Stream.of(errors))

    @property
    def returncode(self):
        """The exit status, None while it runs."""
        return self._process.poll()

    def send_signal(self, number):
        """Send a signal, unless it has ended."""
        self._process.send_signal(number)

    def kill(self):
        """Send SIGKILL."""
        self._process.kill()

    async def wait(self):
        """Return the exit status, once it has ended."""
        return await asyncio.to_thread(self._process.wait, SECONDS)

    async def communicate(self):
        """Return what it prints, and its errors, once it has ended."""
        printed = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return printed

    def close(self):
        """Kill it if it runs, and close the streams."""
        self.kill()
        self._process.wait(SECONDS)
        for each in (self.stdout, self.stderr):
            each.close()


def _start_into(output, errors, arguments, environment):
    if forked.POSSIBLE:
        return forked.start_into(output, errors, arguments, environment)
    command = [*PROGRAM, *arguments]
    return subprocess.Popen(command, env=environment, stdout=output, stderr=errors)


class _Stream:
    """The reading end of a pipe."""

    def __init__(self, reader, transport):
        self._reader, self._transport = reader, transport
        self.read, self.readline = reader.read, reader.readline

    @classmethod
    async def of(cls, descriptor):
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
        return cls(reader, transport)

    def close(self):
        self._transport.close()
