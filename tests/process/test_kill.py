"""kill -9: every acknowledged image is listed, and every listed one can be read."""

import asyncio
import base64
import hashlib

import httpx

from tests.support import images

UPLOADS = 200
AT_ONCE = 16
KILLED_AFTER = 70
# Noise does not compress: 1.4 MB are two records.
CHUNKED = images.png(images.photo((720, 640), noise=255), compress_level=1, private=False)
SMALL = [images.jpeg(images.photo((80, 60), seed=seed)) for seed in range(9)]


def digest(response):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(response.content).digest()).decode()}:"


async def listing(client):
    found, url = [], "/images?limit=50"
    while url:
        response = await client.get(url)
        found += [image["id"] for image in response.json()["images"]]
        url = response.links.get("next", {}).get("url")
    return found


async def test_what_was_acknowledged_before_kill_9_is_listed_and_whole_after_it(
    new_gateway, log_settings
):
    gateway = new_gateway(**log_settings)
    acknowledged = {}
    turn = asyncio.Semaphore(AT_ONCE)
    enough = asyncio.Event()

    async def upload(client, number):
        data = CHUNKED if number % 10 == 9 else SMALL[number % 10]
        async with turn:
            try:
                response = await client.post("/images", content=data)
            except httpx.TransportError:
                return
        assert response.status_code == 201, response.text
        acknowledged[response.json()["id"]] = response.headers["repr-digest"]
        if len(acknowledged) >= KILLED_AFTER:
            enough.set()

    async with gateway.async_client() as client:
        uploads = [asyncio.create_task(upload(client, number)) for number in range(UPLOADS)]
        await asyncio.wait_for(enough.wait(), 60)
        gateway.kill()
        await asyncio.gather(*uploads)
    assert KILLED_AFTER <= len(acknowledged) < UPLOADS

    gateway.start()
    async with gateway.async_client() as client:
        listed = await listing(client)
        assert len(listed) == len(set(listed))
        assert acknowledged.keys() <= set(listed)
        # Images that were announced and not answered are listed too, and whole: no more than
        # were under way.
        assert len(listed) <= len(acknowledged) + AT_ONCE
        for image_id in listed:
            response = await client.get(f"/images/{image_id}")
            assert response.status_code == 200
            assert digest(response) == response.headers["repr-digest"]
            assert acknowledged.get(image_id, digest(response)) == digest(response)
        assert any(int(r["content_length"]) > 1_000_000 for r in await described(client, listed))
        assert (await client.post("/images", content=SMALL[0])).status_code == 201
    assert gateway.mistakes() == []


async def described(client, listed):
    return [(await client.get(f"/images/{image_id}/metadata")).json() for image_id in listed]
