"""A siege: the normal client alone, then beside an attack, and what has to hold."""

import asyncio
import json
import math
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.siege.memory import Memory, allowed_gateway_bytes, allowed_worker_bytes

ALONE_SECONDS = 10
# An upload may take so many times as long as it does alone (95th percentile) …
SLOWER = 3
# … where alone counts as this at least: on a machine that others use too, a decoder of 30 ms that
# is preempted once is twice as slow, and 20 uploads alone have a 95th percentile of one sample.
FLOOR_SECONDS = 0.05
PROBE_SECONDS = 0.1
_GOOD = {"uploads": "201", "downloads": "200", "probes": "200"}


@dataclass(frozen=True, slots=True)
class Load:
    """The samples of the normal client: status and seconds by kind of request."""

    samples: dict

    def others(self, kind):
        """Return the answers that are not as they should be, with their numbers."""
        counts = Counter(status for status, _ in self.samples[kind])
        del counts[_GOOD[kind]]
        return dict(counts)

    def count(self, kind):
        """Return how many requests there were."""
        return len(self.samples[kind])

    def percentile(self, kind, share):
        """Return the seconds within which such a share of all requests ended, however they did."""
        seconds = sorted(seconds for _, seconds in self.samples[kind])
        return seconds[math.ceil(share * len(seconds)) - 1]

    def refused(self):
        """Return every answer that is not as it should be, by kind of request."""
        return {kind: others for kind in self.samples if (others := self.others(kind))}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a siege has shown. Sizes are peaks; a worker's is that of the largest."""

    alone: Load
    under: Load
    attack: dict
    gateway_bytes: int
    worker_bytes: int

    @property
    def slower(self):
        """How many times as long an upload took as alone, or as the floor."""
        alone = max(self.alone.percentile("uploads", 0.95), FLOOR_SECONDS)
        return self.under.percentile("uploads", 0.95) / alone

    def broken(self):
        """Return the promises that were broken, in words; none if the gateway held."""
        broken = [f"{kind}: {_written(others)}" for kind, others in self.under.refused().items()]
        if self.slower > SLOWER:
            broken.append("slow uploads")
        if self.under.percentile("probes", 0.99) > PROBE_SECONDS:
            broken.append("slow probes")
        if self.gateway_bytes > allowed_gateway_bytes():
            broken.append("gateway's memory")
        if self.worker_bytes > allowed_worker_bytes():
            broken.append("worker's memory")
        return broken


async def besiege(gateway, attack, given, seconds):
    """Measure the normal client alone, then as long as the attack lasts."""
    alone = await _normal(gateway, given, min(ALONE_SECONDS, seconds))
    memory = Memory(gateway)
    watching = asyncio.create_task(memory.watch())
    try:
        async with attacking(gateway, attack, given) as counts:
            under = await _normal(gateway, given, seconds)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    return Outcome(alone, under, counts, memory.gateway_bytes, memory.worker_bytes)


async def harass(gateway, attack, given, seconds):
    """Return the samples of the normal client during the attack alone."""
    async with attacking(gateway, attack, given):
        return await _normal(gateway, given, seconds)


@asynccontextmanager
async def attacking(gateway, attack, given):
    """Run an attack in a process; its counts are in the dictionary yielded, at the end."""
    host, port = gateway.address
    options = json.dumps({"host": host, "port": port, "given": given})
    name = f"{attack.__module__.rpartition('.')[2]}:{attack.__name__}"
    process = await _start("attacker", name, options)
    counts = {}
    try:
        await process.stdout.readline()
        yield counts
    finally:
        said, _ = await process.communicate(b"")
    assert process.returncode == 0
    counts |= json.loads(said)


async def _normal(gateway, given, seconds):
    host, port = gateway.address
    options = {"host": host, "port": port, "image": given["image"], "upload": given["photo"]}
    options |= {"seconds": seconds, "tls": gateway.url.startswith("https:")}
    process = await _start("normal", json.dumps(options))
    said, _ = await process.communicate(b"")
    assert process.returncode == 0
    return Load(json.loads(said))


async def _start(module, *arguments):
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.support.siege.{module}", *arguments),
        stdin=pipe,
        stdout=pipe,
    )


def _written(counts):
    return ", ".join(f"{number} {status}" for status, number in counts.items())
