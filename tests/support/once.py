"""Clients that send one upload under one idempotency key until it is answered."""

import asyncio
import uuid
from collections import Counter

import httpx

from tests.support import images

PHOTO = images.jpeg(images.photo((80, 60)))
AT_ONCE = 50
# Each try may take an upload's deadline; a gateway that was killed needs some seconds.
ANSWERED_SECONDS = 60
# A gateway that is dead, starts, or does not know yet.
AGAIN = {409, 429, 503, 504}


def new_key():
    return str(uuid.uuid4())


async def upload(client, key, data=PHOTO):
    """Send an upload once."""
    # As each try of a client, in a form with a boundary of its own.
    files = {"file": ("a.jpg", data)}
    return await client.post("/images", files=files, headers={"Idempotency-Key": key})


async def answered(clients, key, number=0):
    """Send an upload to one gateway after the other until one answers; return that."""
    async with asyncio.timeout(ANSWERED_SECONDS):
        while True:
            try:
                answer = await upload(clients[number % len(clients)], key)
            except httpx.TransportError:
                pass
            else:
                if answer.status_code not in AGAIN:
                    return answer
            number += 1
            await asyncio.sleep(0.05)


async def expect_one_image(clients, key, during=None):
    """Send an upload fifty times at once, over all gateways; it is stored once.

    Args:
        clients: A client of each gateway.
        key: The key.
        during: What is done meanwhile.
    """
    before = await listed(clients[0])
    tasks = [asyncio.create_task(answered(clients, key, number)) for number in range(AT_ONCE)]
    if during is not None:
        await during()
    answers = await asyncio.gather(*tasks)
    assert Counter(each.status_code for each in answers) == {201: AT_ONCE}
    assert len({(each.content, each.headers["etag"]) for each in answers}) == 1
    image = answers[0].json()
    again = await upload(clients[-1], key)
    assert (again.content, again.headers["idempotency-replayed"]) == (answers[0].content, "true")
    for client in clients:
        await agrees(client, [image["id"], *before])
    return answers


async def listed(client):
    page = (await client.get("/images", params={"limit": 1000})).json()
    return [each["id"] for each in page["images"]]


async def agrees(client, ids):
    """Wait until a gateway lists these images and no other."""
    async with asyncio.timeout(10):
        while await listed(client) != ids:
            await asyncio.sleep(0.02)
