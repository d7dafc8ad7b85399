"""The gateway of today against that of another commit: what a request costs its process.

Both run beside each other, on logs of their own, and take turns. CPU is that of the gateway's
process, without its codec workers: on a shared machine it is steadier than a rate. Uploads are kept
as they came, so that the codec has little to do.
"""

import asyncio
import subprocess
from contextlib import AsyncExitStack
from itertools import cycle, islice

from bench.cpu import Counted
from bench.http_client import Client, connected
from bench.rounds import ROUNDS, medians
from bench.samples import jpeg, kilobytes
from bench.targets import gateway
from tests.support.past import unpack

# Side of the picture, uploads and cached downloads a round.
CASES = ((268, 160, 640), (870, 64, 320), (2754, 8, 40))
SETTINGS = {"IMAGEGATE_IMAGING__PROFILE": "original"}


class Against:
    """The comparison with a commit."""

    def __init__(self, commit):
        self._commit = commit

    async def measure(self, target, folder):
        """Return the rows of the table: uploads, and cached downloads, of each size."""
        code = folder / "code"
        python = await asyncio.to_thread(_installed, self._commit, code)
        # Before the folder in which both run.
        before = f"sys.path.insert(0, {str(code)!r})"
        sides = {
            "then": gateway(target, folder / "then", before, python, **SETTINGS),
            "now": gateway(target, folder / "now", **SETTINGS),
        }
        async with AsyncExitStack() as stack:
            for name, side in sides.items():
                process = stack.enter_context(side)
                connections = await stack.enter_async_context(connected(*process.address))
                sides[name] = (Client(connections), Counted(process.process.pid))
            return [row for case in CASES for row in await _rows(*case, sides)]


def _installed(commit, folder):
    """Put a commit into a folder with an environment of its own; return its Python."""
    unpack(commit, folder)
    subprocess.run(["make", "-C", folder, ".venv/.runtime"], check=True, stdout=subprocess.DEVNULL)
    return str(folder / ".venv/bin/python")


async def _rows(side, uploads, downloads, sides):
    sample = jpeg(side)

    def uploading(client):
        return lambda: client.upload([sample.upload] * uploads)

    def downloading(client, paths):
        return lambda: client.download(islice(cycle(paths), downloads))

    paths = {name: await client.upload([sample.upload]) for name, (client, _) in sides.items()}
    size = kilobytes(len(sample.upload))
    work = {name: uploading(client) for name, (client, _) in sides.items()}
    rows = [{"request": f"upload, {size}"} | await _row(uploads, work, sides)]
    work = {name: downloading(client, paths[name]) for name, (client, _) in sides.items()}
    return [*rows, {"request": f"download, {size}"} | await _row(downloads, work, sides)]


async def _row(count, work, sides):
    """Return the cells of one kind of request, of which a round has so many."""
    counted = {name: cpu.counting(work[name]) for name, (_, cpu) in sides.items()}
    seconds = await medians(counted)
    # The round that warms up is counted too, on both sides.
    cpu = {name: cpu.taken() / (ROUNDS + 1) / count for name, (_, cpu) in sides.items()}
    cells = {f"{name}, ms of CPU": f"{each * 1000:.2f}" for name, each in cpu.items()}
    cells["now / then"] = f"{cpu['now'] / cpu['then']:.2f}"
    return cells | {
        "then, a second": f"{count / seconds['then']:,.0f}",
        "now, a second": f"{count / seconds['now']:,.0f}",
        "rate, now / then": f"{seconds['then'] / seconds['now']:.2f}",
    }
