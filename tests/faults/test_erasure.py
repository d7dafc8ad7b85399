"""Gateways and commands, killed between a key, its image, its deletion and its tombstone."""

import asyncio
import hashlib
import random
import signal

import httpx
import pytest

from app.catalog import loose_keys
from app.changes.key_sweep import KeySweep
from app.log import KEYS
from app.log.kafka.log import KafkaLog
from app.log.kafka.settings import KafkaSettings
from app.records.signature import NO_SIGNATURES
from dev.kafka.ports import free_port
from tests.support import commands, images
from tests.support.gateway_process import on_kafka
from tests.support.in_process import in_process
from tests.support.sealing import K1, K2, all_records, ring, sealing

pytestmark = pytest.mark.apache_kafka

SHRED = {"IMAGEGATE_KAFKA__ERASURE": "shred"}
PHOTOS = [images.jpeg(images.photo((80, 60), seed=seed)) for seed in range(8)]
KILLS = 6
AT_ONCE = 8
REWRAPPED = 800
REWRAP_KILLS = 5


def digest(data):
    return hashlib.sha256(data).hexdigest()


async def until_appended(settings, count):
    """Wait until so many records more are in the topic of keys."""
    log = KafkaLog(
        KafkaSettings(
            bootstrap_servers=settings["IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS"],
            topic_prefix=settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"],
            erasure="shred",
        )
    )
    await log.start()
    try:
        goal = (await log.bounds(KEYS, 0)).end + count
        async with asyncio.timeout(60):
            while (await log.bounds(KEYS, 0)).end < goal:
                await asyncio.sleep(0)
    finally:
        await log.stop()


async def check_keys(settings, folder, expected, gone, monkeypatch, **named):
    """Sweep all that is due, and check that exactly the listed images have a key left, and open."""
    monkeypatch.setattr(loose_keys, "GRACE_MS", 0)
    monkeypatch.setattr(loose_keys, "ORPHAN_MS", 0)
    section = {
        "bootstrap_servers": settings["IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS"],
        "topic_prefix": settings["IMAGEGATE_KAFKA__TOPIC_PREFIX"],
        "erasure": "shred",
    }
    async with in_process(folder, kafka=section, **sealing(**named)) as client:
        gateway = client.gateway
        sweep = KeySweep(gateway.log, gateway.catalog, gateway.feed, NO_SIGNATURES, tick_seconds=0)
        await sweep.sweep()
        listed, url = [], "/images?limit=1000"
        while url:
            page = await client.get(url)
            listed += [image["id"] for image in page.json()["images"]]
            url = page.links.get("next", {}).get("url")
        assert expected.keys() <= set(listed)
        for image_id in listed:
            answer = await client.get(f"/images/{image_id}")
            assert answer.status_code == 200, answer.text
            assert expected.get(image_id, digest(answer.content)) == digest(answer.content)
        for image_id in gone:
            assert (await client.get(f"/images/{image_id}")).status_code == 410
        left = {}
        for _, record in await all_records(gateway.log, [KEYS]):
            left[record.key] = record.value
        alive = {key for key, value in left.items() if value is not None}
        named_by = [await gateway.catalog.seal_of(each) for each in listed]
        assert alive == {seal.key.cookie.hex().encode() for seal in named_by}
        return len(left) - len(alive)


async def test_gateway_killed_between_keys_images_deletions_and_tombstones(
    new_broker, new_gateway, tmp_path, monkeypatch
):
    port = str(free_port())
    settings = on_kafka(new_broker()) | SHRED
    gateway = new_gateway("--port", port, **settings, IMAGEGATE_SEALING__KEYS=ring(k1=K1))
    kept, gone, deleting = {}, set(), set()
    done = asyncio.Event()

    async def work(client, number):
        while not done.is_set():
            data = PHOTOS[number % len(PHOTOS)]
            try:
                answer = await client.post("/images", content=data, params={"profile": "original"})
                if answer.status_code != 201:
                    continue
                image = answer.json()
                if random.random() < 0.5:
                    kept[image["id"]] = image["digest"].removeprefix("sha256:")
                    continue
                deleting.add(image["id"])
                if (await client.delete(image["url"])).status_code == 204:
                    gone.add(image["id"])
            except httpx.TransportError:
                await asyncio.sleep(0.05)

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        workers = [asyncio.create_task(work(client, number)) for number in range(AT_ONCE)]
        for _ in range(KILLS):
            before = len(kept) + len(gone)
            async with asyncio.timeout(60):
                while len(kept) + len(gone) < before + 40:
                    await asyncio.sleep(random.random() / 10)
            await asyncio.to_thread(gateway.kill)
            await asyncio.to_thread(gateway.start, "--port", port)
        done.set()
        await asyncio.gather(*workers)
    assert await asyncio.to_thread(gateway.terminate) == 0
    erased = await check_keys(settings, tmp_path / "check", kept, gone, monkeypatch, k1=K1)
    assert erased >= len(gone)


async def test_rewrap_killed_at_any_step(new_broker, new_gateway, tmp_path, monkeypatch):
    settings = on_kafka(new_broker()) | SHRED
    gateway = new_gateway(**settings, IMAGEGATE_SEALING__KEYS=ring(k2=K2, k1=K1))
    older = new_gateway(
        data_dir=tmp_path / "older", **settings, IMAGEGATE_SEALING__KEYS=ring(k1=K1)
    )
    kept = {}
    turn = asyncio.Semaphore(AT_ONCE)

    async def upload(client, number):
        async with turn:
            data = PHOTOS[number % len(PHOTOS)]
            answer = await client.post("/images", content=data, params={"profile": "original"})
            kept[answer.json()["id"]] = answer.json()["digest"].removeprefix("sha256:")

    async with older.async_client() as client:
        await asyncio.gather(*(upload(client, number) for number in range(REWRAPPED)))
    own = settings | {"IMAGEGATE_SEALING__KEYS": ring(k2=K2, k1=K1)}
    for kill in range(REWRAP_KILLS):
        process = commands.start("keys", "rewrap", **own)
        # A page of keys, or its tombstones, or a part of the next.
        await until_appended(settings, 1 + kill * 45)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        process.stdout.close()
        # Gateways serve all of them meanwhile.
        async with gateway.async_client() as client:
            for image_id in random.sample([*kept], 20):
                answer = await client.get(f"/images/{image_id}")
                assert digest(answer.content) == kept[image_id]
    said = await asyncio.to_thread(commands.run, "keys", "rewrap", **own)
    assert not said.startswith("0 keys")
    assert "already" in said
    assert "0 keys were wrapped again" in await asyncio.to_thread(
        commands.run, "keys", "rewrap", **own
    ), said
    gateway.terminate()
    older.terminate()
    erased = await check_keys(settings, tmp_path / "check", kept, set(), monkeypatch, k2=K2)
    assert erased >= len(kept)
