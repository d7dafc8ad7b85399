"""A codec worker that dies fails one upload, and nothing else."""

import asyncio
import os
import select
import signal
from pathlib import Path

from tests.support import bombs, images
from tests.support.gateway_process import until

WORKERS = 2
# A worker that waits for work uses no CPU; one that decodes uses all of one.
BUSY_TICKS = 5


def ticks(pid):
    """Return the CPU time of a process: utime and stime (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def test_a_killed_worker_fails_its_own_upload_while_ten_others_succeed(new_gateway):
    gateway = new_gateway(IMAGEGATE_IMAGING__WORKERS=WORKERS)
    # 48 megapixels keep a worker busy for a second and more.
    large = images.jpeg(images.photo((8000, 6000), noise=0), private=False)
    small = [images.jpeg(images.photo(seed=seed)) for seed in range(10)]
    before = {pid: ticks(pid) for pid in gateway.worker_pids()}
    assert len(before) == WORKERS

    def find_busy():
        return next((pid for pid in before if ticks(pid) >= before[pid] + BUSY_TICKS), None)

    async with gateway.async_client() as client:
        victim = asyncio.create_task(client.post("/images", content=large))
        worker = await asyncio.to_thread(until, find_busy)
        others = [asyncio.create_task(client.post("/images", content=data)) for data in small]
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        assert not victim.done()
        os.kill(worker, signal.SIGKILL)
        response = await victim
        assert (response.status_code, response.json()["code"]) == (422, "decoder-crashed")
        assert [(await other).status_code for other in others] == [201] * 10

        # A dead worker is among the children until the gateway has reaped it.
        def healed():
            pids = gateway.worker_pids()
            return worker not in pids and len(pids) == WORKERS

        await asyncio.to_thread(until, healed)
        again = await asyncio.gather(*(client.post("/images", content=data) for data in small))
        assert [each.status_code for each in again] == [201] * 10
        listed = (await client.get("/images?limit=1000")).json()["images"]
    assert len(listed) == 20
    assert gateway.mistakes() == []


async def test_a_decoder_that_spins_is_killed_while_ten_others_succeed(new_gateway):
    gateway = new_gateway(IMAGEGATE_IMAGING__WORKERS=WORKERS, IMAGEGATE_IMAGING__DEADLINE_SECONDS=1)
    before = gateway.worker_pids()
    small = [images.jpeg(images.photo(seed=seed)) for seed in range(10)]
    async with gateway.async_client() as client:
        spinning, *others = await asyncio.gather(
            *(client.post("/images", content=data) for data in (bombs.spinning_jpeg(), *small))
        )
    assert (spinning.status_code, spinning.json()["code"]) == (422, "decode-timeout")
    assert [other.status_code for other in others] == [201] * 10
    until(lambda: len(gateway.worker_pids() & before) == WORKERS - 1)
    until(lambda: len(gateway.worker_pids()) == WORKERS)
    assert gateway.mistakes() == []


async def test_workers_killed_while_idle_are_replaced_before_anyone_notices(new_gateway):
    gateway = new_gateway(IMAGEGATE_IMAGING__WORKERS=WORKERS)
    killed = gateway.worker_pids()
    ended = [os.pidfd_open(pid) for pid in killed]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    # A busy kernel takes its time: one that is given an image before does not die idle.
    for each in ended:
        assert select.select([each], [], [], 30)[0]
        os.close(each)
    async with gateway.async_client() as client:
        for seed in range(4):
            response = await client.post("/images", content=images.jpeg(images.photo(seed=seed)))
            assert response.status_code == 201, response.text
    until(lambda: len(gateway.worker_pids() - killed) == WORKERS)
    assert gateway.mistakes() == []
