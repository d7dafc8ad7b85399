"""Clients that go on through a fault, and then verify every answer of the gateway.

Uploads (one in five of them chunked), downloads, deletions and two readers of the event stream run
until `finish`, which verifies: acknowledged ⊆ readable and listed ⊆ attempted; digests equal; what
was deleted stays deleted; an unknown outcome may go either way; the streams told each fact once, in
order; memory stayed under its cap; the gateway logged no error of its own.
"""

import asyncio
import hashlib
import itertools
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support import images
from tests.support.stream_reader import StreamReader

# An upload's deadline, then a busy machine.
ANSWER_SECONDS = 15 + 5
# For a probe, once a second or so, to notice.
NOTICE_SECONDS = 5 + 1
UPLOADERS, DOWNLOADERS, READERS = 5, 2, 2
# An uploader shares the machine's cores with brokers and gateway: not all of them.
PAUSE_SECONDS = 0.02
HEAL_SECONDS = 60
POLL_SECONDS = 0.02
READ_SECONDS = 10
# The memory allowed: 85 MB when idle, this budget for uploads, which covers the producers' buffers,
# and 64 MB of cached records; see docs/operations.md, Sizing.
BUDGET_BYTES = 100_000_000
MEMORY_CAP_BYTES = 250_000_000
SMALL = [images.jpeg(images.photo((80, 60), seed=seed)) for seed in range(4)]
CHUNKED = images.png(images.photo((720, 640), noise=255), compress_level=1, private=False)
SETTINGS = {"IMAGEGATE_UPLOAD__BUDGET_BYTES": BUDGET_BYTES}


@dataclass(slots=True)
class Counts:
    """Figures of a round, for the table at the end."""

    attempted: int = 0
    acknowledged: int = 0
    statuses: Counter = field(default_factory=Counter)
    deleted: int = 0
    unknown_stored: int = 0
    pause_seconds: float = 0.0
    slowest_seconds: float = 0.0
    peak_bytes: int = 0


class Checker:
    """Clients of one gateway. Use as an asynchronous context manager, then `finish`.

    Args:
        gateway: A `GatewayProcess` that is ready.
    """

    def __init__(self, gateway):
        self.counts = Counts()
        self.on_finished = None  # called with the counts
        self.may_break_off = ()  # errors of a client where the gateway itself dies
        self.stored = {}  # the JSON of each 201 by its URL
        self.deleting, self.deleted = set(), set()
        self._gateway = gateway
        self._digests = {}
        self._attempted = {}
        self._numbers = itertools.count()
        self._last_stored = time.monotonic()
        self._readers = [StreamReader(gateway) for _ in range(READERS)]
        self._client = gateway.async_client()
        self._ending = False
        self._tasks = []

    async def __aenter__(self):
        work = [self._upload] * UPLOADERS + [self._download] * DOWNLOADERS + [self._delete]
        self._tasks = [asyncio.create_task(self._repeat(each)) for each in work]
        self._tasks += [asyncio.create_task(reader.follow()) for reader in self._readers]
        return self

    async def __aexit__(self, *_):
        await self._stop(self._tasks)
        await self._client.aclose()

    async def more_stored(self, count=20, seconds=HEAL_SECONDS):
        """Wait until so many more are stored."""
        wanted = len(self.stored) + count
        await self.until(lambda: len(self.stored) >= wanted, seconds)

    async def more_answers(self, status, count=5, seconds=HEAL_SECONDS):
        """Wait until so many more uploads got this status."""
        wanted = self.counts.statuses[status] + count
        await self.until(lambda: self.counts.statuses[status] >= wanted, seconds)

    async def until(self, condition, seconds=HEAL_SECONDS):
        """Wait for a condition while the clients go on."""
        deadline = time.monotonic() + seconds
        while not condition():
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < deadline, f"not in {seconds} s: {self.counts}"
            await asyncio.sleep(POLL_SECONDS)

    async def ready(self, wanted=True, seconds=HEAL_SECONDS):
        """Wait until the gateway is ready, or is not; return the seconds that took."""
        started = time.monotonic()
        status = 200 if wanted else 503
        answer = None
        while answer is None or answer.status_code != status:
            assert time.monotonic() - started < seconds, answer and answer.text
            await asyncio.sleep(0.05)
            with suppress(*self.may_break_off):
                answer = await self._client.get("/health/ready")
        return time.monotonic() - started

    async def get(self, path):
        """Send a GET beside the load."""
        return await self._client.get(path)

    async def upload_once(self):
        """Upload one image more, and return the answer."""
        return await self._upload()

    async def pause(self, seconds):
        """Let the load go on for a while."""
        ends = time.monotonic() + seconds
        await self.until(lambda: time.monotonic() >= ends)

    def begin_pause(self):
        """Measure `pause_seconds`, the longest time without a 201, from now on."""
        self.counts.pause_seconds, self._last_stored = 0.0, time.monotonic()

    async def finish(self):
        """Stop the load, wait until the gateway is ready, and verify."""
        await self.ready()
        # None is cancelled: an upload without a client may still be stored.
        self._ending = True
        await asyncio.gather(*self._tasks[: -len(self._readers)])
        listed = await self._listed()
        await self._verify_images(listed)
        await self._verify_deleted(listed)
        await self._verify_streams(listed)
        self._verify_process()
        self.on_finished(self.counts)

    async def _verify_images(self, listed):
        names = [image["filename"] for image in listed.values()]
        assert len(names) == len(set(names)), "an image is listed twice"
        assert set(names) <= self._attempted.keys()
        missing = self.stored.keys() - self.deleting - listed.keys()
        assert not missing, f"acknowledged and not listed: {missing}"
        for url, image in listed.items():
            assert _digest(image) == self._digests[self._attempted[image["filename"]]]
            served = await self._client.get(url)
            assert served.status_code == 200, (url, served.text)
            assert hashlib.sha256(served.content).hexdigest() == _digest(image)
        self.counts.unknown_stored = len(listed.keys() - self.stored.keys())

    async def _verify_deleted(self, listed):
        assert not self.deleted & listed.keys()
        for url in self.deleted:
            assert (await self._client.get(url)).status_code == 410
        self.counts.deleted = len(self.deleted)

    async def _verify_streams(self, listed):
        ids = {image["id"] for image in listed.values()}
        # A deletion may be the newest fact: the events have to lead to the listing.
        await self.until(lambda: all(reader.shown == ids for reader in self._readers))
        await self._stop(self._tasks)
        for reader in self._readers:
            reader.verify()
        shortest = min(len(reader.facts) for reader in self._readers)
        first, second = (reader.facts[:shortest] for reader in self._readers)
        assert first == second

    def _verify_process(self):
        self.counts.peak_bytes = max(self.counts.peak_bytes, _peak_bytes(self._gateway))
        assert self.counts.peak_bytes < MEMORY_CAP_BYTES
        assert self._gateway.mistakes() == []

    async def _listed(self):
        found, url = {}, "/images?limit=1000"
        while url:
            response = await self._client.get(url)
            found |= {image["url"]: image for image in response.json()["images"]}
            url = response.links.get("next", {}).get("url")
        return found

    async def _repeat(self, work):
        while not self._ending:
            with suppress(*self.may_break_off):
                await work()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _upload(self):
        number = next(self._numbers)
        kind = 0 if number % 5 == 0 else number % len(SMALL) + 1
        data = SMALL[kind - 1] if kind else CHUNKED
        name = f"{number}.img"
        self._attempted[name] = kind
        self.counts.attempted += 1
        started = time.monotonic()
        response = await self._client.post("/images", files={"file": (name, data)})
        self.counts.slowest_seconds = max(self.counts.slowest_seconds, time.monotonic() - started)
        self.counts.statuses[response.status_code] += 1
        if response.status_code == 201:
            self._record(kind, response.json())
        else:
            expect_honest(response)
            # As Retry-After says, shortened.
            await asyncio.sleep(0.1)
        return response

    def _record(self, kind, image):
        assert _digest(image) == self._digests.setdefault(kind, _digest(image))
        self.stored[image["url"]] = image
        now = time.monotonic()
        pause, self._last_stored = now - self._last_stored, now
        self.counts.pause_seconds = max(self.counts.pause_seconds, pause)
        self.counts.acknowledged += 1

    async def _download(self):
        if not self.stored:
            return
        url = random.choice(list(self.stored))
        gone = url in self.deleted
        started = time.monotonic()
        try:
            response = await self._client.get(url)
        except httpx.RemoteProtocolError:
            # After its first chunk a download can only be cut off: once the log has not answered
            # within the timeout of a read, and not before.
            assert self.may_break_off or time.monotonic() - started > READ_SECONDS - 1
            return
        expected = {410, 503} if gone else {200, 503}
        if url in self.deleting and not gone:
            expected |= {410}
        assert response.status_code in expected, (url, response.status_code, response.text)
        if response.status_code == 200:
            assert hashlib.sha256(response.content).hexdigest() == _digest(self.stored[url])

    async def _delete(self):
        left = [url for url in self.stored if url not in self.deleting]
        if len(left) <= 10 * (len(self.deleting) + 1):
            return
        url = random.choice(left)
        self.deleting.add(url)
        response = await self._client.delete(url)
        assert response.status_code in {204, 503, 504}, response.text
        if response.status_code == 204:
            self.deleted.add(url)

    async def _stop(self, tasks):
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


def expect_honest(response):
    """Check an answer other than 201: it says whether the image may have been stored."""
    problem = response.json()
    if response.status_code == 504:
        assert (problem["code"], problem["outcome"]) == ("outcome-unknown", "unknown")
    else:
        assert response.status_code == 503, response.text
        assert "outcome" not in problem
        assert int(response.headers["retry-after"]) > 0


def _digest(image):
    return image["digest"].removeprefix("sha256:")


def _peak_bytes(gateway):
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def expect_refused_at_once(clients):
    """Wait for the breaker, then check that uploads are refused without a wait."""
    await clients.more_answers(503, 10)
    for _ in range(5):
        started = time.monotonic()
        response = await clients.upload_once()
        assert response.status_code == 503, response.text
        assert time.monotonic() - started < 1
