"""Gateways forked from one process that has imported them: three quarters of a start are imports.

Hides that process: it starts with the first gateway, has a single thread, and ends with the tests,
however they end. A gateway is still a process of its own, with arguments and an environment as
`imagegate` has.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading

POSSIBLE = hasattr(os, "pidfd_open")  # on Linux
_MESSAGE_BYTES = 100_000
_TEMPLATE = f"""
import gc, json, os, signal, socket, sys
from app.cli.main import main

def run(control, request, output, errors):
    control.close()
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(request["arguments"]))

def serve(control):
    while True:
        data, descriptors, *_ = socket.recv_fds(control, {_MESSAGE_BYTES}, 2)
        if not data:
            sys.exit()
        request = json.loads(data)
        if "reap" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                return control, request, *descriptors
            for each in descriptors:
                os.close(each)
        control.send(json.dumps(answer).encode())

# A terminal interrupts the tests and the gateways, not this process.
signal.signal(signal.SIGINT, signal.SIG_IGN)
gc.collect()
gc.freeze()
run(*serve(socket.socket(fileno=int(sys.argv[1]))))
"""


class ForkedProcess:
    """A gateway, with the part of `subprocess.Popen` that the tests use."""

    def __init__(self, pid, stdout=None):
        self.pid = pid
        self.stdout = stdout
        self.returncode = None
        self._pidfd = os.pidfd_open(pid)

    def poll(self):
        """Return the exit status, None while it runs."""
        if self.returncode is None and self._has_ended(0):
            self._reap()
        return self.returncode

    def wait(self, timeout=None):
        """Return the exit status, once it has ended."""
        if self.returncode is None:
            if not self._has_ended(timeout):
                raise subprocess.TimeoutExpired("imagegate", timeout)
            self._reap()
        return self.returncode

    def send_signal(self, number):
        # No other process has its number until it is reaped.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, timeout):
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return poll.poll(None if timeout is None else timeout * 1000)

    def _reap(self):
        with _lock:
            if self.returncode is None:
                self.returncode = _template.ask({"reap": self.pid})
                os.close(self._pidfd)


class _Template:
    def __init__(self):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _TEMPLATE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.end)

    def ask(self, request, *descriptors):
        socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
        return json.loads(self._control.recv(_MESSAGE_BYTES))

    def end(self):
        self._control.close()
        self._process.wait()


_lock = threading.Lock()
_template = None


def start(arguments, environment):
    """Run `imagegate` with these arguments and this environment; return the process."""
    reading, writing = os.pipe()
    try:
        process = start_into(writing, writing, arguments, environment)
    finally:
        os.close(writing)
    process.stdout = os.fdopen(reading)
    return process


def start_into(output, errors, arguments, environment):
    """Run it with these descriptors for what it prints; return the process."""
    global _template  # noqa: PLW0603 - there is one for all tests
    with _lock:
        _template = _template or _Template()
        request = {"arguments": arguments, "environment": environment}
        return ForkedProcess(_template.ask(request, output, errors))
