"""Clients that read slowly: what was opened for one of them is not opened again for the next."""

import asyncio
import tracemalloc
from dataclasses import replace

import pytest

from app.access.principal import ANYONE
from app.errors import RecordDamagedError
from tests.support.in_process import in_process
from tests.support.sealing import K1, LARGE, sealing, upload

CLIENTS = 30
PART_BYTES = 1_000_000


async def test_however_many_stall_in_an_encrypted_image_each_part_is_in_memory_once(tmp_path):
    async with in_process(tmp_path, **sealing(k1=K1)) as client:
        image = await upload(client, LARGE)
        finder, delivery = client.gateway.finder, client.gateway.delivery
        tracemalloc.start()
        try:
            found = [await finder.find(image["id"], ANYONE) for _ in range(CLIENTS)]
            streams = [await delivery.open(each, 0, len(LARGE)) for each in found]
            taken = 0
            # In the first part, and in the second.
            while taken < 1.5 * PART_BYTES:
                pieces = [await anext(each) for each in streams]
                assert set(pieces) == {LARGE[taken : taken + len(pieces[0])]}
                taken += len(pieces[0])
                del pieces
                if taken < 100_000 or taken > PART_BYTES:
                    # With the records that the cache holds.
                    assert tracemalloc.get_traced_memory()[0] < 7 * PART_BYTES
        finally:
            tracemalloc.stop()
        for each in streams:
            await each.aclose()


async def test_clients_that_begin_at_once_share_what_is_opened(tmp_path):
    async with in_process(tmp_path, **sealing(k1=K1)) as client:
        image = await upload(client, LARGE)
        found = await client.gateway.finder.find(image["id"], ANYONE)
        delivery = client.gateway.delivery
        tracemalloc.start()
        try:
            opening = (delivery.open(found, 1_500_000, 1_600_000) for _ in range(CLIENTS))
            streams = await asyncio.gather(*opening)
            assert tracemalloc.get_traced_memory()[0] < 7 * PART_BYTES
        finally:
            tracemalloc.stop()
        for each in streams:
            assert b"".join([piece async for piece in each]) == LARGE[1_500_000:1_600_000]


async def test_what_one_client_reads_is_not_shared_with_a_head_that_says_otherwise(tmp_path):
    async with in_process(tmp_path, **sealing(k1=K1)) as client:
        image = await upload(client, LARGE)
        finder, delivery = client.gateway.finder, client.gateway.delivery
        found = await finder.find(image["id"], ANYONE)
        stream = await delivery.open(found, 0, len(LARGE))
        await anext(stream)
        head = replace(found.head, chunks=found.head.chunks[:1])
        shorter = replace(found, head=head, seal=None)
        with pytest.raises(RecordDamagedError):
            await delivery.open(shorter, 0, 100)
        await stream.aclose()
