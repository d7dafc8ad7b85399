"""The normal client: uploads, downloads and probes, each with its status and its time.

It runs as a process from 127.0.0.1, `python -m tests.support.siege.normal JSON`, and prints every
sample. Requests begin at fixed times whatever has become of those before, as those of many people
would: a gateway that stands still does not lower the number of samples. Every other request is on a
fresh connection, the others on ones that are kept.
"""

import asyncio
import functools
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.siege.attacker import any_server

# A request without an answer after this is given up; an upload may wait 10 s for a worker.
_ANSWER_SECONDS = 30
# A second, each. Uploads need a tenth of a core, so that a quarter is the normal client's in all.
RATES = {"uploads": 2, "downloads": 5, "probes": 10}


@dataclass(slots=True)
class Kind:
    """A kind of request, its idle connections, and its samples: status and seconds."""

    data: bytes
    idle: list = field(default_factory=list)
    samples: list = field(default_factory=list)

    async def once(self, target, *, fresh):
        """Send a request, and take the sample."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                status = await self._ask(target, fresh=fresh)
        except TimeoutError:
            status = "timeout"
        except (OSError, asyncio.IncompleteReadError):
            status = "cut off"
        self.samples.append((status, time.perf_counter() - started))

    async def _ask(self, target, *, fresh):
        if fresh or not self.idle:
            connection = await target()
        else:
            connection = self.idle.pop()
        reader, writer = connection
        kept = False
        try:
            writer.write(self.data)
            status, kept = await _answer(reader)
        finally:
            if kept and not fresh:
                self.idle.append(connection)
            else:
                writer.close()
        return status


async def _answer(reader):
    """Read an answer to its end; return its status, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
    await reader.readexactly(int(fields["content-length"]))
    return head.split()[1], fields.get("connection") != "close"


async def load(target, requests, seconds):
    """Send every kind of request for so long; return the samples of each."""
    kinds = {name: Kind(data) for name, data in requests.items()}
    async with asyncio.TaskGroup() as group:
        for name, kind in kinds.items():
            group.create_task(_repeat(group, kind, target, RATES[name], seconds))
    for kind in kinds.values():
        for _, writer in kind.idle:
            writer.close()
    return {name: kind.samples for name, kind in kinds.items()}


async def _repeat(group, kind, target, rate, seconds):
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(int(seconds * rate)):
        await asyncio.sleep(started + number / rate - loop.time())
        group.create_task(kind.once(target, fresh=number % 2 == 0))


def main(host, port, image, upload, seconds, tls):
    """See the module.

    Args:
        host: The gateway's.
        port: The gateway's.
        image: The path of the image to download.
        upload: The file to upload.
        seconds: How long.
        tls: Whether the gateway speaks HTTPS.
    """
    data = Path(upload).read_bytes()
    start = "{} {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n"
    requests = {
        "uploads": start.format("POST", "/images", head).encode() + data,
        "downloads": start.format("GET", image, "").encode(),
        "probes": start.format("GET", "/health/live", "").encode(),
    }
    target = functools.partial(
        asyncio.open_connection, host, port, ssl=any_server() if tls else None
    )
    return asyncio.run(load(target, requests, seconds))


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))  # noqa: T201 - the test reads it
