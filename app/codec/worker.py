"""The codec worker process: reads tasks from its socket, runs each, and answers.

The process decodes hostile bytes, so it is contained before the first one arrives: bounded address
space, no core dump, and none of the gateway's environment, where passwords are. It ends with the
gateway: at the end of its socket when idle, by the kernel (PR_SET_PDEATHSIG) when busy.

A task is two big-endian lengths, a pickled `(function, args, kwargs)`, then the image bytes. An
answer is one length, then a pickled `Outcome`.

Sources: prctl(2), getrlimit(2).
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import traceback
from dataclasses import dataclass

from app.errors import GatewayError, ImageLimitError, InternalError

TASK_HEADER = struct.Struct(">QQ")
ANSWER_HEADER = struct.Struct(">Q")

# Linux, include/uapi/linux/prctl.h.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a task.

    Args:
        result: The function's result, or the exception that it raised.
        trace: The traceback of that exception, for the log.
    """

    result: object
    trace: str = ""


def main() -> None:
    """Serve the socket and obey the limits named on the command line."""
    descriptor, memory_bytes, parent = (int(argument) for argument in sys.argv[1:])
    _contain(memory_bytes)
    _end_with(parent)
    _warm_up()
    with socket.socket(fileno=descriptor) as connection:
        _answer(connection, Outcome(None))
        _serve(connection)


def _contain(memory_bytes: int) -> None:
    # Ctrl-C reaches the foreground process group, and a service manager's SIGTERM the whole control
    # group: an image in work is finished all the same, and the gateway decides what ends when.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit()


def _warm_up() -> None:
    """Import the codecs, or the first image would wait for them."""
    import app.imaging.develop  # noqa: F401, PLC0415  # after the limits are in force


def _serve(connection: socket.socket) -> None:
    while header := _receive(connection, TASK_HEADER.size):
        call_length, data_length = TASK_HEADER.unpack(header)
        call = _receive(connection, call_length)
        _answer(connection, _run(call, _receive(connection, data_length)))


def _run(call: bytes, data: bytes) -> Outcome:
    try:
        function, args, kwargs = pickle.loads(call)  # noqa: S301  # the gateway wrote it
        return Outcome(function(data, *args, **kwargs))
    except GatewayError as error:
        return Outcome(error, traceback.format_exc())
    except MemoryError:
        refusal = ImageLimitError("The image takes more memory than allowed.")
        return Outcome(refusal, traceback.format_exc())
    except Exception:  # noqa: BLE001  # a mistake of ours: a 500, and the gateway logs the trace
        mistake = InternalError("The image could not be processed.")
        return Outcome(mistake, traceback.format_exc())


def _receive(connection: socket.socket, length: int) -> bytes:
    """Return exactly this many bytes, or none when the gateway has ended."""
    received = bytearray(length)
    view = memoryview(received)
    while view:
        count = connection.recv_into(view)
        if not count:
            return b""
        view = view[count:]
    return bytes(received)


def _answer(connection: socket.socket, outcome: Outcome) -> None:
    answer = pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
    connection.sendall(ANSWER_HEADER.pack(len(answer)))
    connection.sendall(answer)
