"""The gateway's end of a codec worker process.

The socket is non-blocking: no thread is involved, and 20 megabytes cross it without holding up the
event loop. An answer may hold our own results and errors, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import importlib
import io
import mmap
import os
import pickle
import socket
import sys
from typing import TYPE_CHECKING, Any, Self

from app.codec.worker import ANSWER_HEADER, TASK_HEADER, Outcome
from app.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

# A piece crosses a socket in 0.2 ms; a call with 20 MB lasts 55 ms if the other side keeps pace.
# The event loop runs only in calls that have to wait: hence the `sleep(0)` after each.
_PIECE_BYTES = 262_144

_COMMAND = "from app.codec.worker import main; main()"

# A Python in an unusual place cannot start without these.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME")

# A worker has one CPU. With a thread for each of sixty, NumPy does not fit into its memory.
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class CodecProcess:
    """A worker process and this side of its socket; the caller that spawns it kills it."""

    def __init__(
        self, process: asyncio.subprocess.Process, connection: socket.socket, memory_bytes: int
    ) -> None:
        self._process = process
        self._connection = connection
        self._memory_bytes = memory_bytes
        self._exchange = asyncio.Lock()
        self.busy = True

    @classmethod
    async def spawn(cls, memory_bytes: int) -> Self:
        """Start a process; it is busy until `ready`."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        arguments = (theirs.fileno(), memory_bytes, os.getpid())
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", _COMMAND, *map(str, arguments)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=environment | _THREADS | {"PYTHONPATH": os.pathsep.join(sys.path)},
                )
        except BaseException:  # also when cancelled: no socket may be left open
            ours.close()
            raise
        return cls(process, ours, memory_bytes)

    @property
    def idle(self) -> bool:
        """Whether the process is ready for a task: not in one, and still alive."""
        try:
            return not self.busy and bool(self._connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:  # nothing to read, and not the end either
            return True
        except OSError:
            return False

    async def ready(self) -> None:
        """Wait until the process is ready for a task."""
        async with self._exchange:
            await self._receive_outcome()

    async def ask(self, call: object, data: bytes) -> Outcome:
        """Send a task and return its outcome; if none comes, the worker stays busy.

        Raises:
            EOFError, OSError: The process ended.
            pickle.UnpicklingError: The answer is no outcome.
        """
        pickled = pickle.dumps(call)
        header = TASK_HEADER.pack(len(pickled), len(data))
        async with self._exchange:
            self.busy = True
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(self._connection, header + pickled)
            for piece in _pieces(memoryview(data)):
                await loop.sock_sendall(self._connection, piece)
                await asyncio.sleep(0)
            return await self._receive_outcome()

    async def kill(self) -> None:
        """End the process at once, and return when it has gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        # A waiting reader must see the end of the stream first: closing a socket wakes no reader.
        async with self._exchange:
            self._connection.close()

    async def _receive_outcome(self) -> Outcome:
        (length,) = ANSWER_HEADER.unpack(await self._receive(ANSWER_HEADER.size))
        if not 0 < length <= self._memory_bytes:
            raise pickle.UnpicklingError(f"An answer of {length:,} bytes.")
        outcome = _AnswerUnpickler(_AnswerFile(await self._receive(length))).load()
        if not isinstance(outcome, Outcome):
            raise pickle.UnpicklingError(f"An answer of type {type(outcome).__name__}.")
        self.busy = False
        return outcome

    async def _receive(self, length: int) -> memoryview:
        loop = asyncio.get_running_loop()
        # Zeroed page by page as the bytes arrive; a bytearray zeroes 20 MB at once, in 10 ms.
        received = memoryview(mmap.mmap(-1, length))
        for piece in _pieces(received):
            rest = piece
            while rest:
                count = await loop.sock_recv_into(self._connection, rest)
                if not count:
                    raise EOFError
                rest = rest[count:]
                await asyncio.sleep(0)
        return received


def _pieces(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]


class _AnswerFile(io.RawIOBase):
    """Bytes as a file to unpickle from; `io.BytesIO` would copy them once more."""

    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def readinto(self, buffer: Any) -> int:
        piece = self._rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)


class _AnswerUnpickler(pickle.Unpickler):
    """Builds only our own results and errors: a hijacked decoder must not reach further."""

    def find_class(self, module: str, name: str) -> type:
        if module in {"app.errors", "app.codec.worker"} or module.startswith("app.imaging."):
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and (
                issubclass(found, (GatewayError, enum.Enum)) or dataclasses.is_dataclass(found)
            ):
                return found
        raise pickle.UnpicklingError(f"An answer with {module}.{name}.")
