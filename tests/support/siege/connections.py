"""Attacks by connections alone: idle, dripping, or opened and closed."""

import asyncio

from tests.support.siege.attacker import request


async def idle_connections(attacker):
    """Hold 200 connections, and send nothing."""
    await attacker.keep(200, lambda _: _idle(attacker, 0))


async def idle_after_a_request(attacker):
    """Hold 200 connections that have had an answer, and send nothing more."""
    data = request("GET", "/health/live", Connection="")

    async def one(_):
        await _idle(attacker, 0, data)

    await attacker.keep(200, one)


async def idle_from_many(attacker):
    """Hold 4,000 connections, 10 from each of 400 addresses, and send nothing."""
    await attacker.keep(4_000, lambda number: _idle(attacker, number // 10))


async def _idle(attacker, client, data=b""):
    opened = await attacker.connect(client)
    try:
        await attacker.send(opened, data)
        await attacker.read(opened)
    finally:
        attacker.close(opened)


async def dripping_heads(attacker):
    """Send 200 heads at a byte a second: 200 bytes/s."""
    data = request("GET", "/health/live", X_Padding="a" * 1_000)

    async def one(_):
        opened = await attacker.connect()
        reading = asyncio.create_task(attacker.read(opened))
        try:
            for at in range(len(data)):
                await attacker.send(opened, data[at : at + 1])
                await asyncio.wait({reading}, timeout=1)
                if reading.done():
                    return
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            attacker.close(opened)

    await attacker.keep(200, one)


async def opened_and_closed(attacker):
    """Open 200 connections a second, and close each at once."""

    async def one(_):
        attacker.close(await attacker.connect())

    await attacker.every(0.005, one)


async def pipelined_requests(attacker):
    """Send 1,000 requests in one go on each of four connections, and read the answers."""
    data = request("GET", "/images?limit=1", Connection="") * 999
    last = request("GET", "/images?limit=1")
    await attacker.keep(4, lambda _: attacker.ask(data + last))


async def handshakes(attacker):
    """Begin 100 handshakes of TLS a second, and close each connection once its own is done."""
    await attacker.every(0.01, lambda number: attacker.shake_hands(number % 50))
