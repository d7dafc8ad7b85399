"""Functions that the tests of the codec pool run in its workers."""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import time
from pathlib import Path

from app.imaging import variants
from app.imaging.develop import Developed
from app.imaging.develop import develop as develop_as
from app.imaging.formats import sniff
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Recipe


def develop(data: bytes) -> Developed:
    return develop_as(data, sniff(data), ImageLimits(), Recipe())


def still(data: bytes) -> bytes:
    return variants.still(data, ImageLimits(), 640)


def length(data: bytes) -> int:
    return len(data)


def echo(data: bytes) -> bytes:
    return data


def process_id(data: bytes) -> int:
    return os.getpid()


def spin(data: bytes) -> None:
    """Write the process id into the file that `data` names, then never leave C code."""
    marker = Path(os.fsdecode(data))
    marker.with_suffix(".new").write_text(str(os.getpid()))
    marker.with_suffix(".new").rename(marker)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


def work(data: bytes, seconds: float) -> None:
    time.sleep(seconds)


def crash(data: bytes) -> None:
    ctypes.string_at(0)


def devour(data: bytes) -> None:
    bytearray(2**40)


def blunder(data: bytes) -> None:
    {}["no such key"]


def refuse(data: bytes, error: Exception) -> None:
    raise error


def environment(data: bytes) -> dict[str, str]:
    return dict(os.environ)


def limits(data: bytes) -> list[tuple[int, int]]:
    return [resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CORE)]


class Exploit:
    """Runs code when it is unpickled without care."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def exploit(data: bytes) -> object:
    return Exploit(os.fsdecode(data))
