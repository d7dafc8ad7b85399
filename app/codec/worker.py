"""The codec worker process: reads tasks from its socket, runs each, and answers.

The process decodes hostile bytes, so it is contained before the first one arrives: bounded address
space, no core dump, no descriptor but its socket, none of the gateway's environment, where
passwords are, and all that `app/codec/sandbox.py` takes away. It ends with the gateway: at the end
of its socket when idle, by the kernel (PR_SET_PDEATHSIG) when busy.

Sources: prctl(2), getrlimit(2), close_range(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any

from app.codec.frame import ERRORS, LENGTHS, MAX_DETAIL, MAX_TRACE, pack_head
from app.codec.sandbox import confine
from app.errors import (
    GatewayError,
    ImageLimitError,
    InternalError,
    InvalidImageError,
    OverloadedError,
    UnpackError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Properties = Mapping[str, Any] | None
    Job = Callable[..., tuple[bytes, Properties]]

# Linux, include/uapi/linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Standard input, output and error: /dev/null twice, and the pipe to the gateway's log.
_STANDARD_DESCRIPTORS = 3
# A copy costs less than another call.
_TOGETHER_BYTES = 262_144


def main() -> None:
    """Serve the socket and obey the limits named on the command line."""
    descriptor, parent, memory_bytes = (int(argument) for argument in sys.argv[1:4])
    module, measure_quality, confined = sys.argv[4:]
    _contain(descriptor, memory_bytes)
    _end_with(parent)
    table = import_module(module)  # the codecs with it, after the limits are in force
    table.warm_up(measure_quality=measure_quality == "1")
    with socket.socket(fileno=descriptor) as connection:
        in_force = confine() if confined == "1" else ()
        _answer(connection, {"kind": "ready", "in_force": in_force})
        _serve(connection, table.JOBS)


def _contain(descriptor: int, memory_bytes: int) -> None:
    # A service manager's SIGTERM reaches the whole control group: an image in work is finished all
    # the same, and the gateway decides what ends when.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # uvloop leaves open what the gateway itself inherited.
    end = os.sysconf("SC_OPEN_MAX")
    os.closerange(_STANDARD_DESCRIPTORS, descriptor)
    os.closerange(descriptor + 1, end)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit()


def _serve(connection: socket.socket, jobs: Mapping[str, Job]) -> None:
    while lengths := _receive(connection, LENGTHS.size):
        head_bytes, data_bytes = LENGTHS.unpack(lengths)
        head = json.loads(_receive(connection, head_bytes))
        data = _receive(connection, data_bytes)
        _answer(connection, *_run(jobs[head["task"]], data, head["arguments"]))


def _run(job: Job, data: bytes, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        output, properties = job(data, **arguments)
    except (InvalidImageError, UnpackError) as error:
        return _failed(error if _can_start_threads() else _no_threads()), b""
    except GatewayError as error:
        return _failed(error), b""
    except MemoryError:
        return _failed(ImageLimitError("The image takes more memory than allowed.")), b""
    except Exception:  # noqa: BLE001  # a mistake of ours: a 500, and the gateway logs the trace
        return _failed(InternalError("The image could not be processed.")), b""
    return {"kind": "done", "properties": properties}, output


def _can_start_threads() -> bool:
    """Tell whether a decoder that needs threads could have had one: it only says that it failed."""
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def _no_threads() -> OverloadedError:
    return OverloadedError("No thread can be started here now: the limit of processes is reached.")


def _failed(error: GatewayError) -> dict[str, Any]:
    """Return an error as a head; the end of the trace names the place."""
    code = error.code if error.code in ERRORS else InternalError.code
    detail, trace = error.detail[:MAX_DETAIL], traceback.format_exc()[-MAX_TRACE:]
    return {"kind": "failed", "code": code, "detail": _text(detail), "trace": _text(trace)}


def _text(text: str) -> str:
    """Return text without lone surrogates, which JSON cannot hold."""
    return text.encode("utf-8", "replace").decode()


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


def _answer(connection: socket.socket, head: Mapping[str, Any], output: bytes = b"") -> None:
    packed = pack_head(head, len(output))
    if len(output) <= _TOGETHER_BYTES:
        connection.sendall(packed + output)
        return
    connection.sendall(packed)
    connection.sendall(output)
