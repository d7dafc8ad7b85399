"""Jobs that the tests of the codec pool run in its workers, and the table that names them."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import mmap
import os
import socket
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

from app import errors
from app.codec import jobs, worker
from app.codec.frame import pack_head
from app.codec.tasks import Kind
from app.imaging import variants
from app.imaging.develop import develop as develop_as
from app.imaging.formats import sniff
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Recipe

warm_up = jobs.warm_up


@dataclass(frozen=True)
class Do:
    """A task for a worker of the tests; its result is the answer's JSON, or else its bytes."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    most: int = 30_000_000
    kind: Kind = Kind.UPLOAD

    def when_heavy(self):
        return replace(self, arguments=self.arguments | {"heavy": True})

    def max_output_bytes(self, data):
        return self.most

    async def result(self, properties, output, data):
        return output if properties is None else properties["value"]


def do(job, **arguments):
    return Do(job.__name__, arguments)


def value(found):
    return b"", {"value": found}


def develop_simply(data):
    return value(develop_as(data, sniff(data), ImageLimits(), Recipe()).info.as_dict())


def still_simply(data):
    return variants.still(data, ImageLimits(), 640), None


def length(data):
    return value(len(data))


def echo(data):
    return data, None


def process_id(data):
    return value(os.getpid())


def spin(data):
    """Never leave C code again."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def reluctant(data, *, heavy=False):
    if not heavy:
        raise errors.HeavyImageError("Heavy.")
    return value("done")


def reluctant_spin(data, *, heavy=False):
    return spin(data) if heavy else reluctant(data)


def work(data, seconds):
    time.sleep(seconds)
    return b"", None


def crash(data):
    ctypes.string_at(0)


def devour(data):
    bytearray(2**40)


def blunder(data):
    {}["no such key"]


def refuse(data, error, arguments):
    raise getattr(errors, error)(*arguments)


def say(data, text, times=1):
    os.write(2, text.encode() * times)
    return b"", None


def say_later(data, text):
    threading.Timer(0.1, os.write, (2, text.encode())).start()
    return b"", None


def warn(data):
    warnings.warn("a codec is old", stacklevel=1)
    return b"", None


def environment(data):
    return value(dict(os.environ))


def raw(data):
    """Answer these very bytes, as a decoder that was taken over can."""
    _write_to_the_socket(data)
    time.sleep(60)


def echo_in_pieces(data, at):
    """Answer in two pieces that do not come at once."""

    def in_pieces(connection, head, output):
        worker._answer = usual
        answer = pack_head(head, len(output)) + output
        connection.sendall(answer[:at])
        time.sleep(0.002)
        connection.sendall(answer[at:])

    usual, worker._answer = worker._answer, in_pieces
    return data, None


def twice(data):
    """Answer, and once more for a task that is still to come."""
    _write_to_the_socket(data)
    return b"", None


def _write_to_the_socket(data):
    while data:
        data = data[os.write(int(sys.argv[1]), data) :]


def lie(data, changed, output=None):
    """Develop, and say something else of it."""
    developed = develop_as(data, sniff(data), ImageLimits(), Recipe())
    said = developed.data if output is None else output.encode()
    return said, developed.info.as_dict() | changed


def modules(data):
    return value(sorted(sys.modules))


def attempt(data, code):
    """Run code, with the modules that it needs, and tell the error that ended it."""
    assert all((ctypes, fcntl, mmap, socket, threading))
    try:
        exec(code, globals())  # noqa: S102
    except OSError as error:
        return value(type(error).__name__ if error.errno is None else os.strerror(error.errno))
    return value("done")


JOBS = {
    **jobs.JOBS,
    **{
        job.__name__: job
        for job in (
            *(
                develop_simply,
                still_simply,
                length,
                echo,
                process_id,
                spin,
                work,
                crash,
                devour,
                blunder,
            ),
            *(refuse, say, say_later, warn, environment, raw, echo_in_pieces, twice, lie),
            *(modules, attempt, reluctant, reluctant_spin),
        )
    },
}
