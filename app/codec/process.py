"""The gateway's end of a codec worker process.

The socket is non-blocking: no thread is involved, and 20 megabytes cross it without holding up the
event loop. An answer of another form than `app/codec/frame.py` has is refused before its bytes are
read.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import structlog
from pydantic import ValidationError

from app.codec.answer import Done, Failed, ForeignAnswerError, Ready, parse
from app.codec.frame import LENGTHS, MAX_HEAD_BYTES, pack_head
from app.codec.said import Said
from app.codec.tasks import PIECE_BYTES, pieces

if TYPE_CHECKING:
    from app.codec.sandbox import Part
    from app.codec.tasks import Task

T = TypeVar("T")

_COMMAND = "from app.codec.worker import main; main()"

# A Python in an unusual place cannot start without these.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PYTHONHOME")

# The kernel closes the socket of a process just before it is gone.
_ENDING_SECONDS = 0.5

# The clock of the CPU time of any process, by its id (include/linux/posix-timers.h, and
# `MAKE_PROCESS_CPUCLOCK`). It needs no /proc, which may hide other processes.
_PID_SHIFT, _CLOCK_OF_PROCESS = 3, 2

# A worker has one CPU. With a thread for each of sixty, NumPy does not fit into its memory.
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Start:
    """How workers start.

    Args:
        memory_bytes: Address space (RLIMIT_AS).
        measure_quality: Whether they load what measures quality: 60 MB each.
        confined: Whether they are confined, as far as the kernel can do that.
        jobs: The module with the table of their jobs; tests have one of their own.
    """

    memory_bytes: int
    measure_quality: bool = False
    confined: bool = True
    jobs: str = "app.codec.jobs"

    @property
    def arguments(self) -> tuple[object, ...]:
        """The end of a worker's command line."""
        return self.memory_bytes, self.jobs, int(self.measure_quality), int(self.confined)


class CodecProcess:
    """A worker process and this side of its socket; the caller that spawns it kills it."""

    def __init__(
        self, process: asyncio.subprocess.Process, connection: socket.socket, said: Said
    ) -> None:
        self._process = process
        self._connection = connection
        self._said = said
        self._exchange = asyncio.Lock()
        self._task = "start"
        self.busy = True
        # Fields of the log's lines about the task that the process is in.
        self.context: dict[str, Any] = {}

    @classmethod
    async def spawn(cls, start: Start) -> Self:
        """Start a process; it is busy until `ready`."""
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with ExitStack() as ours, ExitStack() as passed:
            said = Said()
            ours.callback(said.close)
            passed.callback(os.close, said.theirs)
            connection, theirs = socket.socketpair()
            ours.enter_context(connection)
            passed.enter_context(theirs)
            connection.setblocking(False)
            arguments = (theirs.fileno(), os.getpid(), *start.arguments)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _COMMAND, *map(str, arguments)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said.theirs,
                pass_fds=[theirs.fileno()],
                # A terminal's signals are for the gateway, which decides what ends when.
                start_new_session=True,
                env=environment | _THREADS | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            ours.pop_all()
        return cls(process, connection, said)

    @property
    def idle(self) -> bool:
        """Whether the process is ready for a task: not in one, alive, and silent."""
        return not self.busy and self._pending() is None

    def cpu_seconds(self) -> float:
        """Return the time of a CPU that the process has used, of all its threads.

        Where the kernel does not tell, that is the time that passes; 0 for one that has gone.
        """
        if sys.platform != "linux":
            return time.monotonic()
        try:
            return time.clock_gettime(~self._process.pid << _PID_SHIFT | _CLOCK_OF_PROCESS)
        except OSError:
            return 0.0

    async def ready(self) -> tuple[Part, ...]:
        """Wait until the process is ready for a task; return what confines it.

        Raises:
            EOFError, OSError: The process ended.
            ForeignAnswerError: It does not start as a worker of ours.
        """
        async with self._exchange:
            answer, _ = await self._receive_answer(0)
        if not isinstance(answer, Ready):
            raise ForeignAnswerError("The first answer of a worker is not that it is ready.")
        self.busy = False
        return answer.in_force

    async def ask(self, task: Task[T], data: bytes) -> T:
        """Send a task and return its result, or raise its error.

        After anything but these two the worker stays busy: it is of no more use.

        Raises:
            EOFError, OSError: The process ended.
            ForeignAnswerError: The answer is none of ours.
            GatewayError: The job refused the image.
        """
        async with self._exchange:
            self._said.log("none")
            self._task, self.busy = task.name, True
            self.context = structlog.contextvars.get_contextvars()
            await self._send(task, data)
            answer, output = await self._receive_answer(task.max_output_bytes(data))
            self._said.log(task.name, **self.context)
        if isinstance(answer, Failed):
            self.busy = False
            raise answer.error()
        if not isinstance(answer, Done):
            raise ForeignAnswerError("A second answer that the worker is ready.")
        try:
            result = await task.result(answer.properties, output, data)
        except ValueError as error:
            raise ForeignAnswerError(_reason(error)) from error
        self.busy = False
        return result

    async def kill(self) -> int:
        """End the process at once; return its exit status when it has gone."""
        if self._pending() == b"":
            # It ends by itself. A signal now would make asyncio forget the exit status.
            with suppress(TimeoutError):
                async with asyncio.timeout(_ENDING_SECONDS):
                    await self._process.wait()
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        status = await self._process.wait()
        # A waiting reader must see the end of the stream first: closing a socket wakes no reader.
        async with self._exchange:
            self._connection.close()
            self._said.log(self._task, **self.context)
            self._said.close()
        return status

    def _pending(self) -> bytes | None:
        """Return the next byte that came; empty at the end of the process, None if none came."""
        try:
            return self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def _send(self, task: Task[T], data: bytes) -> None:
        head = pack_head({"task": task.name, "arguments": task.arguments}, len(data))
        loop = asyncio.get_running_loop()
        if len(data) <= PIECE_BYTES:
            await loop.sock_sendall(self._connection, head + data)
            return
        await loop.sock_sendall(self._connection, head)
        for piece in pieces(memoryview(data)):
            await loop.sock_sendall(self._connection, piece)
            await asyncio.sleep(0)

    async def _receive_answer(self, max_output_bytes: int) -> tuple[Ready | Done | Failed, bytes]:
        came = await self._receive_more(b"", LENGTHS.size)
        head_bytes, output_bytes = LENGTHS.unpack_from(came)
        if not 0 < head_bytes <= MAX_HEAD_BYTES or output_bytes > max_output_bytes:
            raise ForeignAnswerError(
                f"An answer with a head of {head_bytes:,} and an output of {output_bytes:,} bytes."
            )
        end = LENGTHS.size + head_bytes
        came = await self._receive_more(came, end)
        if len(came) > end + output_bytes:
            raise ForeignAnswerError("An answer that is longer than it says.")
        try:
            answer = parse(came[LENGTHS.size : end])
        except ValueError as error:
            raise ForeignAnswerError(_reason(error)) from error
        return answer, await self._receive_output(came[end:], output_bytes)

    async def _receive_more(self, came: bytes, count: int) -> bytes:
        """Return what came, once that are so many bytes, and whatever came with them."""
        loop = asyncio.get_running_loop()
        while len(came) < count:
            more = await loop.sock_recv(self._connection, MAX_HEAD_BYTES)
            if not more:
                raise EOFError
            came += more
        return came

    async def _receive_output(self, came: bytes, length: int) -> bytes:
        """Return an output of this length, whose beginning came already."""
        if len(came) == length:
            return came
        loop = asyncio.get_running_loop()
        # Zeroed page by page as the bytes arrive; a bytearray zeroes 20 MB at once, in 10 ms.
        output = bytearray(length) if length <= PIECE_BYTES else mmap.mmap(-1, length)
        received = memoryview(output)
        received[: len(came)] = came
        for piece in pieces(received[len(came) :]):
            rest = piece
            while rest:
                count = await loop.sock_recv_into(self._connection, rest)
                if not count:
                    raise EOFError
                rest = rest[count:]
                if length > PIECE_BYTES:
                    await asyncio.sleep(0)
        return bytes(received)


def _reason(error: ValueError) -> str:
    """Return why an answer is refused, without what it says: that may be as long as it likes."""
    if isinstance(error, ValidationError):
        return f"{error.error_count()} errors, the first: {error.errors()[0]['type']}"
    return str(error)
