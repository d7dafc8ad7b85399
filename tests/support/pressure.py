"""Many large uploads at once, in each way that an upload can be sent, and the memory they need.

Hides the bytes of each request, and how the memory of a gateway and its workers is added up.
"""

import asyncio
import base64
import hashlib
import json
import re
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import forms, images

# Just under the default limit of an upload.
UPLOAD_BYTES = 20_000_000
BATCH_IMAGES = 10
WAYS = ("raw", "form", "digest", "key", "batch")
# What is written before the answer is looked for again.
_PIECE_BYTES = 262_144
_SAMPLE_SECONDS = 0.1


@dataclass(slots=True)
class Answers:
    """What became of uploads: how often each status came, and the images of those stored."""

    statuses: Counter = field(default_factory=Counter)
    images: list = field(default_factory=list)

    def add(self, status, body):
        """Count an answer, or each result of a batch."""
        for result in body.get("results", [{"status": status, "image": body}]):
            self.statuses[str(result["status"])] += 1
            if result["status"] == 201:
                self.images.append(result["image"])


def large_images():
    """Return a photo that is encoded again, and a PNG that is kept; each nearly UPLOAD_BYTES."""
    return (
        images.jpeg(images.photo((5480, 5480), noise=60), quality=95),
        images.png(images.photo((2620, 2620), noise=120)),
    )


async def upload_at_once(address, way, pictures, count):
    """Upload so many pictures at once, each on a connection of its own, or in batches of ten."""
    answers = Answers()
    if way == "batch":
        parts = [forms.file(pictures[n % len(pictures)]) for n in range(BATCH_IMAGES)]
        bodies = [forms.form(*parts)] * (count // BATCH_IMAGES)
    elif way == "form":
        each = [forms.form(forms.file(picture)) for picture in pictures]
        bodies = [each[n % len(each)] for n in range(count)]
    else:
        bodies = [pictures[n % len(pictures)] for n in range(count)]
    await asyncio.gather(*(_upload(address, way, body, answers) for body in bodies))
    return answers


async def _upload(address, way, body, answers):
    path = "/images/batch" if way == "batch" else "/images"
    try:
        answers.add(*await ask(address, path, body, _headers(way, body)))
    except (ConnectionError, asyncio.IncompleteReadError):
        answers.statuses["cut off"] += 1


def _headers(way, body):
    headers = {"content-type": "application/octet-stream"}
    if way in {"form", "batch"}:
        headers = dict(forms.HEADERS)
    if way == "digest":
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers["content-digest"] = f"sha-256=:{digest}:"
    if way in {"key", "batch"}:
        headers["idempotency-key"] = str(uuid.uuid4())
    return headers


async def ask(address, path, body, headers):
    """Upload on a new connection; return the status and the JSON of the answer, early or not."""
    reader, writer = await asyncio.open_connection(*address)
    fields = {"host": "localhost", "content-length": len(body)} | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    writing = asyncio.create_task(_write(writer, body))
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"(?mi)^content-length: *(\d+)", head)[1])
        return int(head.split(None, 2)[1]), json.loads(await reader.readexactly(length))
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        writer.transport.abort()


async def _write(writer, body):
    # A gateway that has answered early may have closed the connection.
    with suppress(ConnectionError):
        for at in range(0, len(body), _PIECE_BYTES):
            writer.write(memoryview(body)[at : at + _PIECE_BYTES])
            await writer.drain()


class Together:
    """Samples the memory of a gateway and its workers, as long as it is entered.

    It is the sum of their PSS (proc(5)), in which shared memory counts once.
    """

    def __init__(self, process):
        self.peak_bytes = 0
        self._process = process

    async def __aenter__(self):
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.wait({self._task})

    def sample(self):
        """Return the bytes held now."""
        pids = {self._process.process.pid, *self._process.worker_pids()}
        return sum(process_bytes(pid, "smaps_rollup", "Pss") for pid in pids)

    async def _run(self):
        while True:
            self.peak_bytes = max(self.peak_bytes, await asyncio.to_thread(self.sample))
            await asyncio.sleep(_SAMPLE_SECONDS)


def process_bytes(pid, file, name):
    """Return a number of proc(5); 0 for a process that has just gone."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0
