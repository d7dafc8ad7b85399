"""A camera: frames a second over one connection, one by one and in batches.

The connection waits for each answer before it sends the next request, as most clients do. All sizes
of a batch send the same frames to the same gateway, in alternating rounds.
"""

from contextlib import AsyncExitStack

from bench.http_client import connected
from bench.rounds import medians
from bench.samples import jpeg, kilobytes
from bench.targets import gateway

SIZES = (1, 10, 50)
# Side of the picture and frames a round, for about 50 KB and 500 KB.
CASES = ((268, 100), (870, 50))
_BOUNDARY = "frame"


async def measure(target, folder):
    """Return the rows of the table, one a size of the frames."""
    async with AsyncExitStack() as stack:
        process = stack.enter_context(gateway(target, folder / "gateway"))
        connections = await stack.enter_async_context(connected(*process.address, 1))
        return [await _row(connections[0], side, count) for side, count in CASES]


async def _row(connection, side, count):
    sample = jpeg(side)
    sides = {str(size): _side(connection, sample.upload, count, size) for size in SIZES}
    seconds = await medians(sides)
    cells = {"frame": kilobytes(len(sample.upload)), "stored": kilobytes(sample.stored_bytes)}
    cells |= {f"by {size}": f"{count / seconds[size]:,.0f}" for size in sides}
    single = seconds[str(SIZES[0])]
    return cells | {f"{size}/1": f"{single / seconds[size]:.2f}" for size in list(sides)[1:]}


def _side(connection, frame, count, size):
    body = form([frame] * size)

    async def run():
        for _ in range(count // size):
            answer = await connection.ask(*_request(frame, body, size))
            if answer.status != (201 if size == 1 else 200):
                raise RuntimeError(f"the answer is {answer.head.decode()}")

    return run


def _request(frame, body, size):
    if size == 1:
        return "POST /images", frame
    return "POST /images/batch", body, f"multipart/form-data; boundary={_BOUNDARY}"


def form(frames):
    """Return a form with a part for each frame."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\n'.encode()
    return b"".join(head + frame + b"\r\n" for frame in frames) + f"--{_BOUNDARY}--\r\n".encode()
